import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { eventually, privateFolder } from '../support/daemon.js';
import { wire } from '../support/wire.js';
import { play, singly, unixPeer, whole } from './harness.js';

/** One input and what real QEMU 7.2 answers to it; `scripts/json-corpus.mjs` asks it. */
interface Case {
  readonly name: string;
  readonly hex: string;
  readonly replies: readonly string[];
  /** `either`: QEMU takes it, with an answer that is no JSON. */
  readonly verdict: 'accept' | 'reject' | 'either';
}

const FILE = new URL('../fixtures/json-corpus/cases.json', import.meta.url);
const CASES = JSON.parse(readFileSync(FILE, 'utf8')) as readonly Case[];
const SENTINEL = Buffer.from('{"execute":"query-name","id":"sentinel"}');

/** What a session of ours says to it, up to the answer to a forced end of the message. */
const ours = ({ hex }: Case, cut: (input: Buffer) => Buffer[]): string[] => {
  const client = wire().ready();
  for (const part of cut(Buffer.from(hex, 'hex'))) client.feed(part);
  client.feed(Buffer.concat([Buffer.from([0xff]), SENTINEL]));
  const lines = client.take();
  return lines.slice(0, -2);
};

t.test('the corpus is large, and has all kinds', async (t) => {
  const count = (verdict: string) => CASES.filter((one) => one.verdict === verdict).length;
  t.comment(
    `${String(count('accept'))} to accept, ${String(count('reject'))} to reject, ${String(count('either'))} either`,
  );
  t.equal(CASES.length >= 300, true);
  t.equal(count('accept') > 100 && count('reject') > 100, true);
});

for (const [how, cut] of Object.entries({ whole, 'byte by byte': singly }))
  t.test(`our framing answers every case as QEMU 7.2 does, ${how}`, async (t) => {
    for (const one of CASES) {
      const actual = ours(one, cut);
      if (one.verdict === 'either')
        t.match(actual.join('\n'), /JSON parse error, number out of range/, one.name);
      else t.strictSame(actual, one.replies, one.name);
    }
  });

const QEMU = 'qemu-system-x86_64';
const version = spawnSync(QEMU, ['--version'], { encoding: 'utf8' }).stdout ?? '';
const skip = version.includes('version 7.2') ? false : `${QEMU} 7.2 is not installed`;

t.test('real QEMU 7.2 still answers as written down', { skip }, async (t) => {
  const path = join(privateFolder(t), 'qemu');
  const words = ['-M', 'none', '-name', 'vm0', '-accel', 'tcg', '-S', '-display', 'none'];
  const child = spawn(QEMU, [...words, '-nodefaults', '-qmp', `unix:${path},server=on,wait=off`]);
  const gone = once(child, 'exit');
  t.teardown(async () => {
    child.kill();
    await gone;
  });
  await eventually('QEMU listens', () => existsSync(path));
  const others: string[] = [];
  let asked = 0;
  for (const { name, hex, replies } of CASES) {
    const row = { mode: 'command', input: Buffer.from(hex, 'hex'), row: 0, replies, isOurs: false };
    try {
      const said = await play(() => unixPeer(path, 'resync'), { ...row, mode: 'command' }, whole);
      if (said.join('\n') !== replies.join('\n')) others.push(name);
      asked++;
    } catch {
      // It dies now and then when clients come and go.
      break;
    }
  }
  t.comment(`${String(asked)} of ${String(CASES.length)} asked`);
  t.strictSame(others, []);
});
