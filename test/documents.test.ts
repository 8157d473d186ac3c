import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { privateFolder, type Cleanup } from './support/daemon.js';
import { Qmp } from './support/qmp.js';
import { needsNative } from './support/mdevice.js';

/** Examples that start daemons and end them, as a reader types them into one shell. */
const root = new URL('..', import.meta.url).pathname;
const DOCUMENTS = ['README.md', ...readdirSync(join(root, 'docs')).map((name) => `docs/${name}`)];

/** The shell blocks of a document, from one that starts a daemon to the one that ends it. */
const examplesOf = (document: string): string[] => {
  const text = readFileSync(join(root, document), 'utf8');
  const examples: string[] = [];
  let example = '';
  for (const [, block = ''] of text.matchAll(/^```sh\n(.*?)^```$/gms)) {
    if (example === '' && !block.includes('-daemonize')) continue;
    example += block;
    if (!/\bquit$/m.test(block)) continue;
    examples.push(example);
    example = '';
  }
  t.equal(example, '', `${document}: what is started is ended`);
  return examples;
};

/** Same words, other places: a computer may run this test more than once at a time. */
const moved = (example: string, folder: string, name: string): string =>
  example
    .replaceAll('/tmp/', `${folder}/`)
    .replaceAll('/dev/shm/', `/dev/shm/${name}-`)
    .replaceAll('mhd_metadata', name)
    .replaceAll('-M demo', `-M ${name}`);

/** Makes `COMMAND   # ANSWER` a check, where the answer is an object or begins with a digit. */
const checked = (example: string): string =>
  example.replace(/^(\S.*?\S) {2,}# (\{.*\}|[0-9]+ [0-9a-f ]+)$/gm, (_, command, answer) => {
    const expected = String(answer).replaceAll(' ', '');
    return `answer=$(${String(command)} | head -c 4096 | head -n 3 | tr -d ' \\n'); case "$answer" in '${expected}'*) echo checked ;; *) echo "$answer is not ${expected}" >&2; exit 9 ;; esac`;
  });

const endLeftovers = async (folder: string): Promise<void> => {
  for (const name of readdirSync(folder).filter((entry) => /\.(sock|qmp)$/.test(entry)))
    try {
      await (await Qmp.connect(join(folder, name))).execute('quit');
    } catch {
      // It is no monitor, or its daemon has gone.
    }
};

const run = async (t: Cleanup, example: string) => {
  const folder = privateFolder(t);
  const name = folder.replace(/.*\//, '');
  t.teardown(async () => {
    await endLeftovers(folder);
    for (const left of readdirSync('/dev/shm').filter((entry) => entry.startsWith(name)))
      rmSync(join('/dev/shm', left), { force: true });
  });
  const script = checked(moved(example, folder, name));
  const result = await promisify(execFile)('bash', ['-euc', script], { cwd: root });
  return { ...result, left: readdirSync(folder), shared: existsSync(`/dev/shm/${name}`) };
};

for (const document of DOCUMENTS)
  for (const example of examplesOf(document)) {
    const [first = ''] = example.split('\n');
    t.test(`${document}: ${first}`, needsNative, async (t) => {
      const { stdout, stderr, left, shared } = await run(t, example);
      t.equal(stderr, '');
      const answers = example.match(/ {2}# (\{|[0-9]+ [0-9a-f])/g)?.length ?? 0;
      t.equal(stdout.match(/^checked$/gm)?.length ?? 0, answers, 'answers are as printed');
      t.strictSame({ left, shared }, { left: [], shared: false }, 'nothing is left behind');
    });
  }
