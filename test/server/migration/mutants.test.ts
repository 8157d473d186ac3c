import t from 'tap';
import { encodeConfig } from '../../../devices/state/config-format.js';
import { QmpError } from '../../../schema/error.js';
import type { Machine } from '../../../server/machine/machine.js';
import { loadBoard, saveBoard } from '../../../server/migration/board-state.js';
import { blocksOf } from '../../../server/migration/memories.js';
import { StreamError } from '../../../server/migration/stream.js';
import { arrive } from '../../support/arrivals.js';
import { startMachine } from '../../support/machine.js';
import { asTwoWay, Mutator } from '../../support/mutants.js';
import { record } from '../../support/outlets.js';

/** `npm run soak` takes 1000000. */
const RUNS = Number(process.env['MIGRATION_MUTANTS'] ?? '10000');
const SEED = Number(process.env['MIGRATION_SEED'] ?? '20261121');

const WORDS = [
  ...['-M', 'pc', '-m', '64K', '-nodefaults'],
  ...['-object', 'memory-backend-ram,id=m,size=64K', '-device', 'iopmem,id=d,memdev=m'],
  ...['-device', 'edu,id=e', '-device', 'pci-bridge,id=b,chassis_nr=1'],
  ...[
    '-object',
    'memory-backend-ram,id=n,size=64K',
    '-device',
    'ivshmem-plain,id=i,memdev=n,master=on',
  ],
];

/** What a machine consists of, to see whether it has changed. */
class Snapshot {
  readonly #machine: Machine;
  readonly #states;
  readonly #board;
  readonly #text: string;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#states = [...machine.devices.entries].map(({ device }) => ({
      device,
      state: device.save(),
    }));
    this.#board = saveBoard(machine);
    this.#text = this.#registers();
  }
  isStill(): boolean {
    return this.#registers() === this.#text && this.#machine.clock.now() === 0n;
  }
  /** Undoes what came in. */
  restore(): void {
    const { runState, clock } = this.#machine;
    runState.stop();
    runState.awaitMigration(true);
    clock.set(0n);
    for (const { device, state } of this.#states) device.load(state);
    loadBoard(this.#machine, this.#board);
    for (const block of blocksOf(this.#machine))
      block.memory().write(0n, Buffer.alloc(Number(block.size)));
  }
  #registers(): string {
    const states = [...this.#machine.devices.entries].map(({ device, type }) =>
      encodeConfig({ typeName: type.name, version: 1 }, device.save()),
    );
    const board = encodeConfig({ typeName: 'board', version: 1 }, saveBoard(this.#machine));
    return Buffer.concat([...states, board]).toString('latin1');
  }
}
const isEmpty = (machine: Machine): boolean =>
  blocksOf(machine).every((block) => {
    const bytes = Buffer.alloc(Number(block.size));
    block.memory().read(0n, bytes);
    return bytes.equals(Buffer.alloc(bytes.length));
  });

/** A stream in pieces of any length. */
function* piecesOf(stream: Buffer, mutator: Mutator): Generator<Buffer> {
  for (let at = 0; at < stream.length;) {
    const next = at + 1 + mutator.below(stream.length);
    yield stream.subarray(at, next);
    at = next;
  }
}
/** @returns why it was refused, or undefined */
const feed = (machine: Machine, stream: Buffer, mutator: Mutator): Promise<unknown> =>
  arrive(machine, piecesOf(stream, mutator));

t.test(
  `${String(RUNS)} damaged streams are refused or loaded, and leave nothing behind`,
  async (t) => {
    const source = await startMachine(t, [...WORDS, '-S']);
    const { machine } = await startMachine(t, [...WORDS, '-incoming', 'defer']);
    await source.run('guest-enumerate');
    for (const block of blocksOf(source.machine))
      block.memory().write(4096n, Buffer.alloc(9000, 0xa5));
    const oneWay = await record(source.machine);
    const streams = [oneWay, asTwoWay(oneWay)];
    const snapshot = new Snapshot(machine);
    const mutator = new Mutator(SEED);
    for (const stream of streams) {
      t.equal(await feed(machine, stream, mutator), undefined, 'undamaged, it loads');
      snapshot.restore();
    }
    const count = { refused: 0, loaded: 0 };
    const problems: string[] = [];
    for (let run = 0; run < RUNS && problems.length < 5; run++) {
      const mutant = mutator.mutate(streams[run % 2] ?? oneWay);
      const refusal = await feed(machine, mutant, mutator);
      if (refusal === undefined) {
        count.loaded++;
        snapshot.restore();
        continue;
      }
      count.refused++;
      const where = `run ${String(run)}: ${String(refusal)}`;
      if (!(refusal instanceof StreamError)) problems.push(`${where}: not of the stream`);
      else if (refusal.cause !== undefined && !(refusal.cause instanceof QmpError))
        problems.push(
          `${where}: ${refusal.cause instanceof Error ? String(refusal.cause.stack) : ''}`,
        );
      if (!snapshot.isStill()) problems.push(`${where}: registers changed`);
      if (run % 10 === 0 && !isEmpty(machine)) problems.push(`${where}: memory changed`);
    }
    t.strictSame(problems, []);
    t.equal(isEmpty(machine), true);
    t.ok(count.refused > RUNS / 2);
    t.comment(
      `seed ${String(SEED)}: ${String(count.refused)} refused, ${String(count.loaded)} loaded`,
    );
  },
);
