import type { DeviceState } from '../../devices/core/device.js';
import { takeAll, type Handover } from '../../devices/core/handover.js';
import { decodeConfig } from '../../devices/state/config-format.js';
import { refused } from '../../schema/error.js';
import { enumeration, int, object } from '../../schema/lang.js';
import { checkValue } from '../../schema/validate.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import type { Machine } from '../machine/machine.js';
import { ARRIVING, type ArrivingStatus } from '../machine/run-state.js';
import { loadBoard, saveBoard } from './board-state.js';
import { IncomingMemory } from './incoming-memory.js';
import { blocksOf } from './memories.js';
import { Hello, misfit, type Shape } from './shape.js';
import { identityOf, platformIdentity } from './identity.js';
import { checkActive, holdDevices } from './standstill.js';
import {
  FRAME,
  FrameReader,
  FrameWriter,
  jsonOf,
  MAX_PAGES,
  PLACE_BYTES,
  preamble,
  type Frame,
} from './stream.js';

const End = object('MigrationEnd', {
  status: enumeration('MigrationRunState', ARRIVING, 'what the source was before the last phase'),
  clock: int('uint64', 'virtual time in nanoseconds'),
  checksum: int('uint32', 'CRC-32 of the headers of all frames before'),
});

export interface ArrivalOptions {
  readonly machine: Machine;
  /** Bytes for the source. */
  readonly answer: (bytes: Buffer) => void;
  /** The source said who it is, and fits. */
  readonly onActive: () => void;
  /** The machine is here: `confirm` makes it run. */
  readonly onCommit: () => void;
}

/** Where in its order the stream is. */
type Stage = 'hello' | 'memory' | 'devices' | 'end' | 'commit' | 'closing' | 'over';

/**
 * A machine that comes in, from the first byte of its stream to the moment in which it is told to
 * run. Holds every device; what is refused leaves nothing behind.
 */
export class Arrival {
  readonly #options: ArrivalOptions;
  readonly #reader: FrameReader;
  readonly #writer = new FrameWriter();
  #stage: Stage = 'hello';
  #shape: Shape | undefined;
  #memory: IncomingMemory | undefined;
  #release: (() => void) | undefined;
  /** In the order of the source. */
  #entries: DeviceEntry[] = [];
  #states: { readonly state: DeviceState; readonly offer: DeviceState | undefined }[] = [];
  #stateBytes = 0;
  #platform: DeviceState | undefined;
  #handovers: Handover[] = [];
  #status: ArrivingStatus = 'paused';
  /** What undoes the loading. */
  #undo: (() => void) | undefined;
  #isIntroduced = false;
  #isCommitted = false;

  constructor(options: ArrivalOptions) {
    this.#options = options;
    this.#reader = new FrameReader({
      limit: (type) => this.#limit(type),
      expected: () => this.#expected(),
      onFrame: (frame) => this.#frame(frame),
    });
  }

  /** @throws StreamError that says where, for the first thing that is wrong */
  push(bytes: Uint8Array): void {
    this.#reader.push(bytes);
  }
  /**
   * The stream is over: a machine that came without anybody to answer is here.
   *
   * @throws StreamError unless all is there
   */
  end(): void {
    if (this.#stage === 'over') return;
    this.#reader.end();
    if (this.#stage !== 'closing')
      throw this.#reader.error('the stream ends before the machine is complete');
    this.#commit();
  }
  /** All is here, nobody is to answer, and nothing may follow. */
  get isComplete(): boolean {
    return this.#stage === 'closing';
  }
  /** Whether handovers are decided: the machine is here whatever becomes of the source. */
  get isTaken(): boolean {
    return this.#stage === 'over' && this.#handovers.length > 0;
  }
  /** Whether the source has let go of the machine: nothing that it says matters any more. */
  get isCommitted(): boolean {
    return this.#isCommitted;
  }
  /** Tells the source why not. */
  refuse(reason: string): void {
    this.#answer(this.#writer.json(FRAME.REFUSE, { reason }));
  }
  /** What tells the source that the machine runs here. */
  confirmation(): Buffer {
    return this.#writer.frame(FRAME.RUNS);
  }
  /** The machine runs as it did at the source. */
  run(): void {
    this.#release?.();
    this.#options.machine.runState.arrive(this.#status);
  }
  /**
   * Gives everything back: devices are as they were, the memory that was written is zero. Devices are
   * held until that is done.
   */
  async abandon(): Promise<void> {
    this.#stage = 'over';
    const release = this.#release;
    this.#release = undefined;
    if (release === undefined) return;
    for (const { device } of this.#entries) device.handover?.abandon();
    this.#undo?.();
    await this.#memory?.clear();
    release();
  }

  #answer(bytes: Buffer): void {
    if (!this.#isIntroduced) this.#options.answer(preamble());
    this.#isIntroduced = true;
    this.#options.answer(bytes);
  }

  /** What may come now. */
  #limit(type: number): number | undefined {
    const { limits } = this.#options.machine.options;
    switch (this.#stage) {
      case 'hello':
        return type === FRAME.HELLO ? limits['migration-hello-bytes'] : undefined;
      case 'memory':
        if (this.#memory?.order.hasBegun !== true) return type === FRAME.PASS ? 4 : undefined;
        if (type === FRAME.PAGES) return PLACE_BYTES + MAX_PAGES;
        if (type === FRAME.ZEROS) return PLACE_BYTES + 8;
        if (type === FRAME.PASS) return 4;
        return this.#limitOfState(type);
      case 'devices':
        return this.#limitOfState(type);
      case 'end':
        return type === FRAME.END ? 1024 : undefined;
      case 'commit':
        return type === FRAME.COMMIT ? 0 : undefined;
      case 'closing':
      case 'over':
        return undefined;
    }
  }
  #expected(): string {
    switch (this.#stage) {
      case 'hello':
        return 'HELLO is the first';
      case 'memory':
        return this.#memory?.order.hasBegun === true
          ? `PAGES, ZEROS, PASS or ${this.#nextState} is next`
          : 'PASS is next';
      case 'devices':
        return `${this.#nextState} is next`;
      case 'end':
        return 'END is next';
      case 'commit':
        return 'COMMIT is next';
      case 'closing':
      case 'over':
        return 'nothing may follow the end';
    }
  }
  get #nextState(): string {
    const { length } = this.#states;
    const { length: all } = this.#entries;
    return length < all ? `DEVICE ${String(length)} of ${String(all)}` : 'PLATFORM';
  }
  #limitOfState(type: number): number | undefined {
    const left = this.#options.machine.options.limits['migration-state-bytes'] - this.#stateBytes;
    if (type === FRAME.DEVICE && this.#states.length < this.#entries.length) return left;
    return type === FRAME.PLATFORM && this.#states.length === this.#entries.length
      ? left
      : undefined;
  }

  /** @throws StreamError with what is wrong about the frame */
  #frame({ type, payload }: Frame): void {
    try {
      this.#take(type, payload);
    } catch (error) {
      throw this.#reader.error(error instanceof Error ? error.message : String(error), error);
    }
  }
  #take(type: number, payload: Buffer): void {
    switch (type) {
      case FRAME.HELLO:
        this.#hello(payload);
        break;
      case FRAME.PAGES:
        this.#memory?.pages(payload);
        break;
      case FRAME.ZEROS:
        this.#memory?.zeros(payload);
        break;
      case FRAME.PASS:
        this.#pass(payload);
        break;
      case FRAME.DEVICE:
        this.#device(payload);
        break;
      case FRAME.PLATFORM:
        this.#memory?.order.end();
        this.#platform = decodeConfig(platformIdentity(this.#options.machine), payload);
        this.#stage = 'end';
        break;
      case FRAME.END:
        this.#load(payload);
        break;
      case FRAME.COMMIT:
        this.#commit();
        break;
    }
  }

  #hello(payload: Buffer): void {
    const { machine, onActive } = this.#options;
    const shape = checkValue(Hello, jsonOf(payload) ?? null, 'hello');
    const blocks = blocksOf(machine);
    const problem = misfit(shape, machine, blocks);
    if (problem !== undefined) throw refused(problem);
    checkActive(machine);
    this.#memory = new IncomingMemory(shape, blocks);
    const byPath = new Map([...machine.devices.entries].map((entry) => [entry.object.path, entry]));
    this.#entries = shape.devices.flatMap(({ path }) => byPath.get(path) ?? []);
    this.#shape = shape;
    this.#release = holdDevices(machine);
    this.#stage = 'memory';
    onActive();
    if (shape.channel === 'two-way')
      this.#answer(this.#writer.json(FRAME.ACCEPT, { shared: this.#memory.shared }));
  }
  #pass(payload: Buffer): void {
    const pass = payload.length === 4 ? payload.readUInt32LE() : -1;
    this.#memory?.order.begin(pass);
  }
  #device(payload: Buffer): void {
    this.#memory?.order.end();
    this.#stage = 'devices';
    const entry = this.#entries[this.#states.length];
    if (entry === undefined || payload.length < 8) throw refused('this is no state of a device');
    if (payload.readUInt32LE(0) !== this.#states.length)
      throw refused(
        `it is the state of device ${String(payload.readUInt32LE(0))}, not of ${entry.object.path}`,
      );
    const length = payload.readUInt32LE(4);
    if (length > payload.length - 8) throw refused('the state is longer than the frame');
    this.#stateBytes += payload.length;
    const identity = identityOf(entry);
    const state = decodeConfig(identity, payload.subarray(8, 8 + length));
    const rest = payload.subarray(8 + length);
    const offer = rest.length === 0 ? undefined : decodeConfig(identity, rest);
    if (offer !== undefined && entry.device.handover === undefined)
      throw refused(`there is nothing to hand over to ${entry.object.path}`);
    this.#states.push({ state, offer });
  }

  /** All is here: everything is loaded, or refused as a whole. */
  #load(payload: Buffer): void {
    const { machine } = this.#options;
    const { status, clock, checksum } = checkValue(End, jsonOf(payload) ?? null, 'end');
    if (checksum !== this.#reader.digest)
      throw refused(
        `the frames before it have checksum ${String(this.#reader.digest)}, and were sent with ${String(checksum)}`,
      );
    for (const { object, realized } of this.#entries)
      if (!realized) throw refused(`${object.path} has left during the migration`);
    this.#undo = this.#backup();
    machine.clock.set(clock);
    for (const [index, { device, object }] of this.#entries.entries()) {
      const { state, offer } = this.#states[index] ?? {};
      if (offer !== undefined && device.handover !== undefined) {
        device.handover.expect(offer);
        this.#handovers.push(device.handover);
      }
      try {
        device.load(state ?? {});
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        throw refused(`${object.path}: ${reason}`, error);
      }
    }
    loadBoard(machine, this.#platform ?? {});
    this.#status = status;
    machine.migration.gate.hold();
    if (this.#shape?.channel === 'two-way') {
      this.#stage = 'commit';
      this.#answer(this.#writer.frame(FRAME.LOADED));
    } else this.#stage = 'closing';
  }
  /** @returns what brings devices, platform and clock back to where they are */
  #backup(): () => void {
    const { clock } = this.#options.machine;
    const time = clock.now();
    const saved = saveBoard(this.#options.machine);
    const states = this.#entries.map(({ device }) => ({ device, state: device.save() }));
    return () => {
      clock.set(time);
      for (const { device, state } of states) device.load(state);
      loadBoard(this.#options.machine, saved);
    };
  }
  /** From here on the machine is here. */
  #commit(): void {
    takeAll(this.#handovers, (error) =>
      this.#options.machine.options.log.error({ err: error }, 'a device came without what it had'),
    );
    this.#stage = 'over';
    this.#isCommitted = true;
    this.#options.onCommit();
  }
}
