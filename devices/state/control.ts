import { refused } from '../../schema/error.js';
import { DIRTY_PAGE } from '../core/dirty-log.js';
import { ConfigTransfer } from './config-transfer.js';
import { checkPosition, StateError } from './errno.js';
import { StateMemory } from './memory.js';
import { MemoryTransfer } from './memory-transfer.js';
import { OutsideLoad } from './outside-load.js';
import { checkStart, PageLog } from './page-log.js';
import { Passes } from './passes.js';
import { StateRegions, type RegionLengths } from './regions.js';
import { CAPABILITY, LOGGING_BIT, STATE, STOP_BIT, type StateTarget } from './target.js';

const PAGE = BigInt(DIRTY_PAGE);
const ADDRESS_END = 1n << 64n;

/** What can be told of a device's state without changing it. */
export interface StateInfo {
  readonly state: number;
  /** Bits of CAPABILITY. */
  readonly capabilities: number;
  /** Number of the last pass of the session. */
  readonly pass: number;
  /** Bytes of device memory that passes have yet to bring. */
  readonly pending: number;
  readonly dirtyPages: number;
  readonly dirtySystemPages: number;
  readonly configSize: number;
  /** Bytes of device memory. */
  readonly memorySize: number;
  /** The device cannot change between two readings. */
  readonly consistent: boolean;
  /** A load was begun and is not complete: the device cannot be set running. */
  readonly loading: boolean;
}

/**
 * The state of one device: running or stopped, logging or not, with the session of passes, the
 * snapshots and the loads that belong to it. Every refusal is a StateError and changes nothing.
 *
 * @see reference/vfio-device-state.md §3, §4, §6
 */
export class StateControl {
  readonly target: StateTarget;
  readonly #config: ConfigTransfer;
  readonly #memory: MemoryTransfer;
  /** Loads that come another way than by the regions. */
  readonly outside = new OutsideLoad();
  readonly #systemLog = new PageLog();
  #state: number = STATE.RUNNING;
  #resume: (() => void) | undefined;
  readonly #unhookReset: () => void;
  #unhookDma: (() => void) | undefined;
  #passes: Passes | undefined;
  #regions: StateRegions | undefined;
  #closed = false;

  constructor(target: StateTarget) {
    this.target = target;
    this.#config = new ConfigTransfer(target.config);
    this.#memory = new MemoryTransfer(target.memories, target.passBytes);
    this.#unhookReset = target.activity.onReset(() => this.reset());
  }

  get state(): number {
    return this.#state;
  }
  /** Whether it is in STOP or STOP_LOGGING. */
  get isStopped(): boolean {
    return (this.#state & STOP_BIT) !== 0;
  }
  get logging(): boolean {
    return (this.#state & LOGGING_BIT) !== 0;
  }
  /** Whether a load was begun and not completed. */
  get loading(): boolean {
    const { running, half } = this.outside;
    return running || half || this.#config.loading || this.#memory.announced !== undefined;
  }
  /** Bits of CAPABILITY. */
  get capabilities(): number {
    const { config, onDmaWrite } = this.target;
    const memory = this.#memory.capacity > 0 ? CAPABILITY.DEVICE_MEMORY : 0;
    const system = onDmaWrite === undefined ? 0 : CAPABILITY.SYSTEM_MEMORY;
    return (memory | system) & (config.capabilities ?? memory | system);
  }
  /** @throws StateError ENODEV when the device has left */
  checkThere(): void {
    if (this.#closed) throw new StateError('ENODEV', `device '${this.target.name}' has left`);
  }
  /** @throws StateError ENODEV */
  checkCapability(name: keyof typeof CAPABILITY): void {
    this.checkThere();
    if ((this.capabilities & CAPABILITY[name]) === 0)
      throw new StateError(
        'ENODEV',
        `device '${this.target.name}' has no capability ${CAPABILITY_TEXT[name]}`,
      );
  }

  /** The regions by which a client works on it, when it has some. */
  get regions(): StateRegions | undefined {
    return this.#regions;
  }
  /** Gives it regions of these lengths. @throws QmpError when it has some */
  attachRegions(lengths: RegionLengths): StateRegions {
    if (this.#regions !== undefined)
      throw refused(`device '${this.target.name}' has regions of its state already`);
    this.#regions = new StateRegions(this, lengths);
    return this.#regions;
  }
  /** Takes its regions away; loads that came through them end. */
  detachRegions(): void {
    this.#regions = undefined;
    this.abandonLoads();
  }

  /**
   * Goes to another state.
   *
   * @throws StateError EINVAL when there is no such state, or the device would run half loaded
   */
  setState(to: number): void {
    this.checkThere();
    const from = this.#state;
    if (!Object.values<number>(STATE).includes(to))
      throw new StateError('EINVAL', `state ${String(to)} is none of 0 to 3`);
    if (to === from) return;
    if ((to & STOP_BIT) === 0 && this.loading)
      throw new StateError(
        'EINVAL',
        `device '${this.target.name}' cannot run: a load is not complete`,
      );
    if ((to & STOP_BIT) !== 0) this.#resume ??= this.target.activity.hold();
    this.#memory.forget();
    if ((to & LOGGING_BIT) === 0) this.#endSession();
    else if (!this.logging) this.#beginSession();
    this.#state = to;
    // First: what waited for the device may reset it, which changes its state once more.
    this.target.changed(from, to);
    if ((to & STOP_BIT) === 0) this.#run();
  }

  /** The device was reset: it runs, nothing is logged, loads and passes are forgotten. */
  reset(): void {
    const from = this.#state;
    this.abandonLoads();
    this.outside.settle();
    this.#regions?.reset();
    this.#memory.forget();
    this.#endSession();
    this.#state = STATE.RUNNING;
    this.#run();
    if (from !== STATE.RUNNING) this.target.changed(from, STATE.RUNNING);
  }
  /** The device leaves: every access fails from now on. */
  close(): void {
    this.#closed = true;
    this.#unhookReset();
    this.abandonLoads();
    this.#memory.forget();
    this.#endSession();
    this.#run();
  }
  abandonLoads(): void {
    this.#config.abandon();
    this.#memory.abandon();
  }

  /** A container with the configuration as it is now. */
  configSnapshot(): Uint8Array {
    this.checkThere();
    return this.#config.snapshot(this.logging);
  }
  /** What the size of the configuration reads: announced, or of a snapshot taken now. */
  configSize(): number {
    this.checkThere();
    return this.#config.announced ?? this.configSnapshot().length;
  }
  /**
   * Announces a configuration; 0 abandons the load.
   *
   * @param room length of the region that it comes in
   * @throws StateError EBUSY unless STOP, EFBIG when it does not fit
   */
  announceConfig(size: bigint, room: number): void {
    this.#checkStop();
    this.#config.announce(size, room);
  }
  /**
   * Loads the announced bytes from the beginning of `region`.
   *
   * @throws StateError EBUSY unless STOP; EINVAL when the data is refused: the device is as before
   */
  loadConfig(region: Uint8Array): void {
    this.#checkStop();
    this.#config.load(region);
  }

  /**
   * What the size of the memory reads: announced, or in LOGGING the length of a new pass, or else the
   * length of a whole snapshot.
   */
  memorySize(): number {
    this.checkCapability('DEVICE_MEMORY');
    const { announced } = this.#memory;
    if (announced !== undefined) return announced;
    if (this.logging) return this.#session().take();
    return this.#memory.size;
  }
  /**
   * A chunk of the last pass, or outside LOGGING of a snapshot, which the first chunk takes anew.
   *
   * @param pos a multiple of `length`
   * @returns at most `length` bytes
   * @throws StateError EBUSY while a load is under way, EINVAL beyond the data, EFBIG when a snapshot
   * is too much at a time
   */
  memoryChunk(pos: bigint, length: number): Uint8Array {
    this.checkCapability('DEVICE_MEMORY');
    if (this.#memory.announced !== undefined)
      throw new StateError('EBUSY', 'a load of the memory is not complete');
    if (!this.logging) return this.#memory.chunk(pos, length);
    const session = this.#session();
    if (session.stream === undefined && pos === 0n) session.take();
    const { stream } = session;
    if (stream === undefined)
      throw new StateError('EINVAL', `no pass has data at position ${String(pos)}`);
    checkPosition(pos, stream.length);
    session.fetched(Number(pos), length);
    return stream.subarray(Number(pos), Number(pos) + length);
  }
  /**
   * Announces memory; 0 abandons the load.
   *
   * @throws StateError EBUSY unless STOP, EFBIG above the limit of the device
   */
  announceMemory(size: bigint): void {
    this.checkCapability('DEVICE_MEMORY');
    this.#checkStop();
    this.#memory.announce(size);
  }
  /** Takes a chunk of the announced memory, see MemoryTransfer.put. @throws StateError EBUSY unless STOP */
  loadMemoryChunk(pos: bigint, chunk: Uint8Array): void {
    this.checkCapability('DEVICE_MEMORY');
    this.#checkStop();
    this.#memory.put(pos, chunk);
  }

  /**
   * System memory that the device wrote by DMA: one bit for each page of 4096 bytes from `start` on,
   * the lowest bit of the first byte first, in whole words of 64 bits.
   *
   * @param forget whether they are clean afterwards
   * @throws StateError ENODEV without that capability, EINVAL for a range that cannot be
   */
  systemPages(start: bigint, pages: bigint, forget: boolean): Uint8Array {
    this.checkCapability('SYSTEM_MEMORY');
    checkStart(start);
    if (pages === 0n) throw new StateError('EINVAL', 'number of pages is 0');
    if (start + pages * PAGE > ADDRESS_END)
      throw new StateError(
        'EINVAL',
        `${String(pages)} pages from ${String(start)} on do not exist`,
      );
    return this.#systemLog.bitmap(Number(start / PAGE), Number(pages), forget);
  }
  /**
   * Dirty pages of device memory in the same form; they stay dirty.
   *
   * @param first page
   * @throws StateError ENODEV without that capability
   */
  devicePages(first: number, pages: number): Uint8Array {
    this.checkCapability('DEVICE_MEMORY');
    const bits = new Uint8Array(Math.ceil(pages / 64) * 8);
    const last = Math.ceil(this.#memory.capacity / DIRTY_PAGE);
    for (let n = 0; n < pages && first + n < last; n++)
      if (this.#passes?.isDirty(first + n) === true)
        bits[n >>> 3] = (bits[n >>> 3] ?? 0) | (1 << (n & 7));
    return bits;
  }

  /** Tells everything and changes nothing. */
  info(): StateInfo {
    return {
      state: this.#state,
      capabilities: this.capabilities,
      pass: this.#passes?.number ?? 0,
      pending: this.#passes?.pending ?? 0,
      dirtyPages: this.#passes?.dirtyPages ?? 0,
      dirtySystemPages: this.#systemLog.count,
      configSize: this.configSnapshot().length,
      memorySize: this.#memory.capacity,
      consistent: this.target.activity.stopped,
      loading: this.loading,
    };
  }

  #run(): void {
    this.#resume?.();
    this.#resume = undefined;
  }
  #beginSession(): void {
    const { memories, passBytes, onDmaWrite } = this.target;
    this.#passes = new Passes(new StateMemory(memories), passBytes);
    this.#unhookDma = onDmaWrite?.((address, length) => this.#systemLog.mark(address, length));
  }
  #endSession(): void {
    this.#unhookDma?.();
    this.#unhookDma = undefined;
    this.#systemLog.clear();
    this.#passes?.close();
    this.#passes = undefined;
  }
  /** The passes of this session; all over again when the device has other memory than before. */
  #session(): Passes {
    const { memories, passBytes } = this.target;
    if (this.#passes?.memory.isOf(memories) !== true) {
      this.#passes?.close();
      this.#passes = new Passes(new StateMemory(memories), passBytes, this.#passes?.number);
    }
    return this.#passes;
  }

  #checkStop(): void {
    this.checkThere();
    if (this.#state !== STATE.STOP)
      throw new StateError(
        'EBUSY',
        `device '${this.target.name}' is in state ${String(this.#state)}, a load needs state 1`,
      );
    if (this.outside.running)
      throw new StateError('EBUSY', `device '${this.target.name}' is being loaded`);
    if (this.outside.saving)
      throw new StateError('EBUSY', `device '${this.target.name}' is being saved`);
  }
}

const CAPABILITY_TEXT = { DEVICE_MEMORY: 'device-memory', SYSTEM_MEMORY: 'system-memory' } as const;
