import t from 'tap';
import type { Machine } from '../../../server/machine/machine.js';
import type { Outlet, OutletHandlers } from '../../../server/migration/outlet.js';
import { Progress } from '../../../server/migration/progress.js';
import { Outgoing } from '../../../server/migration/source.js';
import { FRAME, FrameReader, FrameWriter, preamble } from '../../../server/migration/stream.js';
import { startMachine } from '../../support/machine.js';
import { NearOutlet, sendTo, Tape } from '../../support/outlets.js';

/** Frames of the destination, by the frame of the source that they answer. */
type Answers = Readonly<Partial<Record<number, readonly Buffer[]>>>;

/** A destination that has answered a frame before the source knows that it was sent. */
class Eager extends NearOutlet {
  readonly isTwoWay = true;
  readonly #answers: Answers;
  readonly #reader: FrameReader;
  #handlers: OutletHandlers | undefined;
  isAbandoned = false;
  /** Types of the frames that came. */
  readonly came: number[] = [];

  constructor(answers: Answers) {
    super();
    this.#answers = answers;
    this.#reader = new FrameReader({
      limit: () => 1 << 20,
      onFrame: ({ type }) => {
        this.came.push(type);
        for (const answer of this.#answers[type] ?? []) this.#handlers?.onData(answer);
      },
    });
  }
  override listen(handlers: OutletHandlers): void {
    this.#handlers = handlers;
    handlers.onData(preamble());
  }
  send(bytes: Buffer, onSent?: () => void): undefined {
    this.#reader.push(bytes);
    onSent?.();
  }
  override abandon(): void {
    this.isAbandoned = true;
  }
}

const send = async (machine: Machine, answers: Answers) => {
  const outlet = new Eager(answers);
  return { outlet, info: await sendTo(machine, outlet) };
};

const accept = (writer: FrameWriter): Buffer => writer.json(FRAME.ACCEPT, { shared: [] });

t.test('answers that come before they are waited for count', async (t) => {
  const { machine } = await startMachine(t, ['-M', 'pc', '-m', '1M']);
  const writer = new FrameWriter();
  const { outlet, info } = await send(machine, {
    [FRAME.HELLO]: [accept(writer)],
    [FRAME.END]: [writer.frame(FRAME.LOADED)],
    [FRAME.COMMIT]: [writer.frame(FRAME.RUNS)],
  });
  t.strictSame(info, { status: 'completed' });
  t.equal(outlet.came.at(-1), FRAME.COMMIT);
  t.equal(machine.runState.status, 'postmigrate');
});

t.test('what nobody answers is refused to be cancelled when all is written', async (t) => {
  const { machine } = await startMachine(t, ['-M', 'pc', '-m', '1M']);
  const progress = new Progress({ emit: () => undefined, events: () => false });
  class Written extends Tape {
    override finish(): Promise<void> {
      t.throws(() => outgoing.cancel(), {
        class: 'GenericError',
        message: 'All of the machine was written: the migration cannot be cancelled any more',
      });
      t.strictSame([progress.status, machine.runState.status], ['active', 'finish-migrate']);
      return Promise.resolve();
    }
  }
  const open = (): Promise<Outlet> => Promise.resolve(new Written());
  const outgoing = new Outgoing({ machine, progress, open });
  await outgoing.run();
  t.equal(progress.status, 'completed');
  t.equal(machine.runState.status, 'postmigrate');
});

t.test('more than one that nobody waits for is out of turn', async (t) => {
  const { machine } = await startMachine(t, ['-M', 'pc', '-m', '1M']);
  for (const answers of [
    (writer: FrameWriter) => [accept(writer), writer.frame(FRAME.LOADED)],
    (writer: FrameWriter) => [writer.frame(FRAME.RUNS)],
  ]) {
    const { outlet, info } = await send(machine, { [FRAME.HELLO]: answers(new FrameWriter()) });
    t.strictSame(info, {
      status: 'failed',
      'error-desc': 'The destination answered out of turn',
    });
    t.equal(outlet.isAbandoned, true);
    t.equal(machine.runState.status, 'running', 'nothing has happened');
  }
});
