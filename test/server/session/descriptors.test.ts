import { closeSync, openSync, realpathSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { Outcome } from '../../../server/session/target.js';
import { privateFolder, type Cleanup } from '../../support/daemon.js';
import { timesOpen } from '../../support/descriptors.js';
import { wire } from '../../support/wire.js';

/** Lets promises that are settled already run on. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const TAKE = '{"execute":"take"}';
const LATE = '{"execute":"late"}';
const OTHER = '{"execute":"query-name"}';
const OOB = '{"exec-oob":"query-yank"}';

/** A client whose commands `take` (at once) and `late` (when its turn comes) say what they got. */
const setUp = (t: Cleanup, capabilities: '[]' | '["oob"]' = '[]') => {
  const path = join(realpathSync(privateFolder(t)), 'file');
  writeFileSync(path, '');
  const { target, ready } = wire();
  const taken: (number | undefined)[] = [];
  const turns: (() => void)[] = [];
  target.extra = ({ command, client }) => {
    const take = (): Outcome => {
      const fd = client.takeDescriptor();
      taken.push(fd);
      if (fd !== undefined) closeSync(fd);
      return { ok: true, value: {} };
    };
    if (command === 'take') return take();
    if (command !== 'late') return undefined;
    return new Promise((resolve) => turns.push(() => resolve(take())));
  };
  return {
    connection: ready(capabilities),
    taken,
    turn: async () => {
      turns.shift()?.();
      await settled();
    },
    passed: () => openSync(path, 'r'),
    open: () => timesOpen(path),
  };
};

t.test('descriptors that no command wanted are closed when the client leaves', async (t) => {
  const { connection, passed, open } = setUp(t);
  connection.feed(OTHER, [passed()]);
  t.equal(open(), 1);
  connection.feed(' ', [passed()]);
  t.equal(open(), 1, 'a newer one takes its place');
  connection.feed(' ', [passed(), passed(), passed()]);
  t.equal(open(), 1, 'of many the first counts');
  connection.destroy();
  await settled();
  t.equal(open(), 0);
});

t.test('a command that waits for its turn keeps its descriptor', async (t) => {
  for (const capabilities of ['[]', '["oob"]'] as const) {
    const { connection, taken, turn, passed, open } = setUp(t, capabilities);
    const fds = [passed(), passed(), passed()] as const;
    connection.feed(LATE, [fds[0]]);
    connection.feed(LATE, [fds[1]]);
    connection.feed(` ${LATE}\r\n`, [fds[2]]);
    connection.feed(LATE);
    for (let i = 0; i < 4; i++) await turn();
    t.strictSame(taken, [...fds, undefined], capabilities);
    t.equal(open(), 0);
  }
});

t.test('a descriptor on a blank is for the request behind it', async (t) => {
  for (const capabilities of ['[]', '["oob"]'] as const) {
    const { connection, taken, turn, passed } = setUp(t, capabilities);
    const fds = [passed(), passed()] as const;
    connection.feed(' ', [fds[0]]);
    // Two messages of the client in one read: a read ends with what carried descriptors.
    connection.feed(`${LATE} `, [fds[1]]);
    connection.feed(LATE);
    for (let i = 0; i < 2; i++) await turn();
    t.strictSame(taken, fds, capabilities);
  }
});

t.test('of several requests in one read the last one begun has it', async (t) => {
  const { connection, taken, passed, open } = setUp(t);
  const fds = [passed(), passed(), passed()] as const;
  connection.feed(`${OTHER}${TAKE}\n`, [fds[0]]);
  connection.feed(`${OTHER}{"execute":`, [fds[1]]);
  connection.feed('"take"}');
  t.strictSame(taken, [fds[0], fds[1]], 'also when the rest of it comes later');
  connection.feed(`${TAKE}${TAKE}${OTHER}`, [fds[2]]);
  t.strictSame(taken.slice(2), [fds[2], undefined], 'another may have what nobody else wants');
  t.equal(open(), 0);
});

t.test('requests out of band leave descriptors alone', async (t) => {
  const { connection, taken, turn, passed, open } = setUp(t, '["oob"]');
  const fds = [passed(), passed()] as const;
  connection.feed(LATE, [fds[0]]);
  connection.feed(OOB);
  connection.feed(LATE, [fds[1]]);
  connection.feed(OOB);
  for (let i = 0; i < 2; i++) await turn();
  t.strictSame(taken, fds);
  t.equal(open(), 0);
});

t.test('however many come while a command runs, few are kept', async (t) => {
  const { connection, passed, open } = setUp(t, '["oob"]');
  connection.feed(LATE, [passed()]);
  for (let i = 0; i < 100; i++) connection.feed(`${OOB} `, [passed()]);
  t.equal(open(), 3, 'that of the command, and the newest two');
  connection.destroy();
  await settled();
  t.equal(open(), 0);
});

t.test('a client that leaves takes what was queued with it', async (t) => {
  const { connection, turn, taken, passed, open } = setUp(t, '["oob"]');
  for (let i = 0; i < 5; i++) connection.feed(LATE, [passed()]);
  t.equal(open(), 5);
  connection.destroy();
  await settled();
  t.equal(open(), 0);
  await turn();
  t.strictSame(taken, [undefined]);
});
