import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { NativeLoader } from '../../server/os/native.js';
import { listenUnix } from '../../server/transport/unix.js';
import { eventually } from '../support/daemon.js';
import { wire } from '../support/wire.js';
import { play, unixPeer, whole } from './harness.js';
import { ROWS, type Row } from './rows.js';

const QEMU = 'qemu-system-x86_64';
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 300);
const isInstalled = spawnSync(QEMU, ['--version']).status === 0;
const skip = isInstalled ? false : `${QEMU} is not installed`;

/** Whether somebody listens at `path`, without coming as a client: a path is there before. */
const isServed = (path: string): boolean =>
  readFileSync('/proc/net/unix', 'utf8')
    .split('\n')
    .map((line) => line.split(/ +/))
    // Flag __SO_ACCEPTCON.
    .some((fields) => fields.at(-1) === path && fields[3] === '00010000');

const startQemu = async (folder: string): Promise<{ path: string; stop: () => Promise<void> }> => {
  const path = join(folder, 'qemu');
  const args = ['-M', 'none', '-name', 'vm0', '-accel', 'tcg', '-S', '-display', 'none'];
  const child = spawn(QEMU, [...args, '-nodefaults', '-qmp', `unix:${path},server=on,wait=off`]);
  const gone = once(child, 'exit');
  await eventually('QEMU listens', () => isServed(path));
  const stop = async (): Promise<void> => {
    child.kill();
    await gone;
  };
  return { path, stop };
};

/** Bytes and words that are likely to mean something to the lexer. */
const fragment = fc.oneof(
  fc.constantFrom(...'{}[]:,"\'\\ \n\t0123456789-+.eEtfnu', 'true', 'false', 'null'),
  fc.constantFrom('{"execute":"query-name","id":', '"id"', '\\u', '\\ud83d\\ude00', '"a"', "'b'"),
  fc.constantFrom('"execute":', '"query-name"', '"arguments":', '{}', '12', '-0.5e3', 'é', '€'),
);
/** One request with members of all kinds: which of several mistakes is told? */
const member = fc.tuple(
  fc.oneof(
    fc.constantFrom('execute', 'exec-oob', 'arguments', 'id'),
    fc.string({ maxLength: 9 }).filter((name) => name !== '__proto__'),
    fc.constantFrom('é', '\0', 'a\0b', 'x', 'extra', 'return'),
  ),
  fc.constantFrom('query-name', 'nope', 1, null, {}, [], { x: 1 }, 'qmp_capabilities'),
);
const envelope = fc
  .uniqueArray(member, { selector: ([name]) => name, maxLength: 6 })
  .map((members) =>
    Buffer.from(
      `{${members.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',')}}`,
    ),
  );
const soup = fc.oneof(
  { weight: 3, arbitrary: envelope },
  {
    weight: 4,
    arbitrary: fc.array(fragment, { maxLength: 25 }).map((x) => Buffer.from(x.join(''))),
  },
  {
    weight: 1,
    arbitrary: fc
      .uint8Array({ maxLength: 12 })
      .map((x) =>
        Buffer.concat([Buffer.from('{"execute":"query-name","id":"'), x, Buffer.from('"}\n')]),
      ),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 20 }).map((x) => Buffer.from(x)) },
);

t.test('real QEMU agrees', { skip }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'qmemd-qemu-'));
  let qemu = await startQemu(folder);
  const { monitor } = wire();
  const path = join(folder, 'ours');
  const ours = await listenUnix({
    path,
    native: new NativeLoader().load,
    onConnection: (connection) => monitor.accept(connection),
  });
  t.teardown(async () => {
    ours.close();
    await monitor.close();
    await qemu.stop();
    rmSync(folder, { recursive: true });
  });

  t.test('with every row of the table', async (t) => {
    for (const row of ROWS.filter((row) => !row.isOurs))
      t.strictSame(
        await play(() => unixPeer(qemu.path, 'resync'), row, whole),
        row.replies,
        `row ${String(row.row)}: ${String(row.input)}`,
      );
  });

  /** Real QEMU 7.2 dies now and then when clients come and go; it is started anew, and told of. */
  let deaths = 0;
  const askQemu = async (row: Row): Promise<string[] | undefined> => {
    try {
      return await play(() => unixPeer(qemu.path, 'resync'), row, whole);
    } catch {
      deaths++;
      await qemu.stop();
      rmSync(qemu.path, { force: true });
      qemu = await startQemu(folder);
      return undefined;
    }
  };

  t.test('with what we answer to random input', async (t) => {
    const modes = fc.constantFrom('command' as const, 'negotiation' as const, 'oob' as const);
    await fc.assert(
      fc.asyncProperty(modes, soup, async (mode, input) => {
        const row = { mode, input, row: 0, replies: [], isOurs: false };
        const expected = await askQemu(row);
        if (expected === undefined) return;
        const actual = await play(() => unixPeer(path, 'resync'), row, whole);
        // QEMU reads a number out of range as infinity and goes on.
        if (actual.some((line) => line.includes('number out of range'))) return;
        const text = JSON.stringify({ expected, actual });
        if (text !== JSON.stringify({ expected, actual: expected })) throw new Error(text);
      }),
      { numRuns: RUNS },
    );
    t.comment(`real QEMU was started anew ${String(deaths)} times`);
    t.equal(deaths <= 1 + RUNS / 300, true, 'real QEMU answered nearly everything');
  });
});
