import { join } from 'node:path';
import t from 'tap';
import { connectWhenUp, eventually, privateFolder, spawnDaemon } from '../support/daemon.js';
import { CrowdMember } from './crowd.js';
import { Subscriber } from './subscribers.js';

/** `npm run soak` sets these to what is promised; here are a few seconds' worth. */
const CLIENTS = Number(process.env['LOAD_CLIENTS'] ?? 300);
const COMMANDS = Number(process.env['LOAD_COMMANDS'] ?? 40);
const SUBSCRIBERS = Number(process.env['LOAD_SUBSCRIBERS'] ?? 60);
const EVENTS = Number(process.env['LOAD_EVENTS'] ?? 60);
const LIMITS = ['clients=5000', 'http-connections=5000', 'event-ring=65536'].flatMap((limit) => [
  '--limit',
  limit,
]);

const options = { timeout: 900_000 };
t.setTimeout(1_000_000);

t.test(
  `${String(CLIENTS)} clients at once, ${String(COMMANDS)} commands each, some leaving`,
  options,
  async (t) => {
    const path = join(privateFolder(t), 'qmp.sock');
    spawnDaemon(t, ['-M', 'none', ...LIMITS, '-qmp', `unix:${path},server=on,wait=off`]);
    const observer = await connectWhenUp(path);
    t.teardown(() => observer.close());
    const leaves = (i: number): boolean => i % 10 === 9;
    const crowd = Array.from(
      { length: CLIENTS },
      (_, i) =>
        new CrowdMember(path, {
          name: `c${String(i)}`,
          count: COMMANDS,
          ...(leaves(i) ? { leavesAt: 1 + ((i * 7) % COMMANDS) } : {}),
        }),
    );
    t.teardown(() => crowd.forEach((member) => member.close()));
    await Promise.all(crowd.map((member) => member.run()));
    const { sequence } = (await observer.execute('subscribe-events')) as { sequence: bigint };
    const staying = crowd.filter((_, i) => !leaves(i));
    await Promise.all(staying.map((member) => member.until(Number(sequence))));
    const stayed = staying.map(({ account }) => account);
    t.equal(
      stayed.every(({ replies }) => replies === COMMANDS),
      true,
      'no reply is lost',
    );
    t.strictSame(
      crowd.flatMap(({ account }) => account.faults),
      [],
      'no reply misordered or of another, no event lost or misordered',
    );
    t.equal(
      stayed.every(({ events }) => events.at(-1) === Number(sequence)),
      true,
      'whoever stays gets the last event, too',
    );
    t.equal(sequence > 0n, true, `${String(sequence)} events`);
    t.comment(`${String(CLIENTS * COMMANDS)} commands, ${String(sequence)} events to each`);
  },
);

/** Numbers from 0 to 1, the same ones for the same seed. */
const randomOf = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
};
/** How often a subscriber that leaves does so, more or less. */
const COMINGS = 5;

const NAMES = ['RESUME', 'STOP', 'RESET', 'POWERDOWN'] as const;
/** Every subscriber wants others of the four. */
const wantedBy = (i: number): string[] => NAMES.filter((_, bit) => ((1 + (i % 15)) >> bit) & 1);

t.test(
  `${String(SUBSCRIBERS)} WebSocket subscribers with filters, half of them coming back at random`,
  options,
  async (t) => {
    const path = join(privateFolder(t), 'qmp.sock');
    const monitor = ['-qmp', `unix:${path},server=on,wait=off`];
    const port = ['--listen', '127.0.0.1:0'];
    const { stderr } = spawnDaemon(t, [
      '-M',
      'none',
      '-name',
      'vm0',
      '-S',
      ...LIMITS,
      ...monitor,
      ...port,
    ]);
    const acting = await connectWhenUp(path);
    t.teardown(() => acting.close());
    const where = /127\.0\.0\.1:\d+/;
    await eventually('it prints its address', () => where.test(stderr()));
    const address = where.exec(stderr())?.[0] ?? '';
    const url = `ws://${address}/machines/vm0/events`;
    const seed = Date.now() | 0;
    const random = randomOf(seed);
    const leaves = (): boolean => random() < COMINGS / EVENTS;
    const all = Array.from(
      { length: SUBSCRIBERS },
      (_, i) => new Subscriber(url, wantedBy(i), i % 2 === 1 ? leaves : undefined),
    );
    t.teardown(() => all.forEach((one) => one.leave()));
    for (let from = 0; from < SUBSCRIBERS; from += 100)
      await Promise.all(all.slice(from, from + 100).map((one) => one.connect()));

    const happened: string[] = [];
    const act = async (i: number): Promise<void> => {
      const [command, event] = [
        ['cont', 'RESUME'],
        ['system_reset', 'RESET'],
        ['stop', 'STOP'],
        ['system_powerdown', 'POWERDOWN'],
      ][i % 4] as [string, string];
      await acting.execute(command);
      happened.push(event);
    };
    for (let i = 0; i < EVENTS; i++) await act(i);
    const numbers = (names: readonly string[]): number[] =>
      happened.flatMap((event, i) => (names.includes(event) ? [i + 1] : []));
    await Promise.all(all.map((one) => one.until(numbers(one.names).at(-1) ?? 0)));
    const wrong = all.filter(
      ({ names, seen }) => JSON.stringify(seen) !== JSON.stringify(numbers(names)),
    );
    t.equal(wrong.length, 0, 'each saw every event that it wanted exactly once, in order');
    t.strictSame(
      all.flatMap(({ faults }) => faults),
      [],
    );
    const comings = all.reduce((sum, one) => sum + one.comings, 0);
    t.equal(comings > 0, true, `${String(comings)} came back (seed ${String(seed)})`);
  },
);
