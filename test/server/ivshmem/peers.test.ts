import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { eventually, privateFolder, spawnDaemon, type Cleanup } from '../../support/daemon.js';
import { IvshmemGuest, type Program } from '../../support/ivshmem-guest.js';
import { native } from '../../support/passing.js';
import { refereeMissing } from '../../support/referee.js';

// Processes on one server: our daemons, and real QEMU where it is installed. `npm run soak` sets
// IVSHMEM_ROUNDS to 100000.

const ROUNDS = Number(process.env['IVSHMEM_ROUNDS'] ?? 100);
const VECTORS = 2;
const needsNative = native === undefined ? { skip: 'koffi is not installed' } : {};
const noQemu = refereeMissing();

/** The server as a process, with a name of its own. */
const startServer = async (t: Cleanup) => {
  const path = join(privateFolder(t), 's');
  const name = `qmemd-test-${randomUUID()}`;
  const words = ['-F', '-S', path, '-M', name, '-n', String(VECTORS), '-l', '1M'];
  const server = spawnDaemon(t, ['ivshmem-server', ...words]);
  await eventually('the server listens', () => server.stdout().includes('ivshmem server on'));
  return { ...server, path, shm: `/dev/shm/${name}` };
};

/** Every guest rings the next one, once around the circle, `rounds` times. */
const goAround = async (circle: readonly IvshmemGuest[], rounds: number): Promise<void> => {
  for (let round = 0; round < rounds; round++)
    for (const [i, guest] of circle.entries()) {
      const next = circle[(i + 1) % circle.length];
      if (next === undefined) throw new Error('an empty circle');
      await guest.ring(next.id, round % VECTORS);
      await next.taken(round % VECTORS);
    }
};

const nothingInvented = async (guests: readonly IvshmemGuest[]): Promise<boolean> => {
  for (const guest of guests)
    for (let vector = 0; vector < VECTORS; vector++) if (await guest.take(vector)) return false;
  return true;
};

/** The last ring of a burst is followed by a delivery: the receiver then knows the last value. */
const burst = async (from: IvshmemGuest, to: IvshmemGuest, size: number): Promise<void> => {
  for (let value = 1; value <= size; value++) {
    await from.writeMemory(0x40, value);
    await from.ring(to.id, 0, 3);
  }
  do await to.taken(0);
  while ((await to.readMemory(0x40)) !== size);
};

const cast = async (
  t: Cleanup,
  server: string,
  programs: readonly Program[],
): Promise<IvshmemGuest[]> => {
  const guests: IvshmemGuest[] = [];
  // One by one, so that ids are those of the order.
  for (const program of programs)
    guests.push(await IvshmemGuest.start(t, { program, server, vectors: VECTORS }));
  return guests;
};

/** Memory, doorbells, and the ends of peers and server. */
const play = async (t: Test, programs: readonly Program[], rounds: number): Promise<void> => {
  const server = await startServer(t);
  const guests = await cast(t, server.path, programs);
  t.strictSame(
    guests.map(({ id }) => id),
    programs.map((_, i) => i),
  );
  for (const [i, guest] of guests.entries()) await guest.writeMemory(4 * i, 100 + i);
  for (const guest of guests)
    for (const i of guests.keys()) t.equal(await guest.readMemory(4 * i), 100 + i);
  await goAround(guests, rounds);
  await goAround(guests.toReversed(), rounds);
  for (const [i, guest] of guests.entries()) await guest.ring(i, 1);
  for (const guest of guests) await guest.taken(1);
  const [first, second, last] = [guests[0], guests[1], guests.at(-1)];
  if (first === undefined || second === undefined || last === undefined) return;
  await burst(first, last, 20);
  await burst(last, second, 20);
  t.equal(await nothingInvented(guests), true, 'no message came that nobody asked for');

  const held = [first, second].map(({ counters }) => counters);
  const rest = guests.slice(0, -1);
  const ringing = first.ring(last.id, 0, 500);
  await last.kill();
  await ringing;
  await eventually('the others notice', () =>
    [first, second].every(({ counters }, i) => counters === (held[i] ?? 0) - VECTORS),
  );
  await first.ring(last.id, 0);
  const stillGoing = goAround(rest, 20);
  server.child.kill('SIGKILL');
  await Promise.all([server.exit, stillGoing]);
  await goAround(rest, 5);
  await first.writeMemory(0x80, 77);
  t.equal(await second.readMemory(0x80), 77);
  for (const guest of rest) await guest.leave();
  await eventually('nothing is left', () => !existsSync(server.shm));
};

t.test('two daemons, and a real QEMU where there is one', needsNative, (t) =>
  play(t, ['qmemd', 'qmemd', noQemu === false ? 'qemu' : 'qmemd'], ROUNDS),
);

t.test('two real QEMUs and a daemon', noQemu === false ? needsNative : { skip: noQemu }, (t) =>
  play(t, ['qemu', 'qmemd', 'qemu'], 20),
);
