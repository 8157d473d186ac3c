import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from '../core/device.js';
import { bytes, fields, flag, integer, unsigned } from '../core/saved-state.js';
import type { Clock } from '../core/clock.js';
import { RETURN_CODE, type ReturnCode } from './return-code.js';

const TICK_NS = 1_000_000_000n;
const NS_PER_MS = 1_000_000n;
/** Bytes that a command can have as input. */
const LONGEST_INPUT = 1 << 20;
/** From here on an operation that is asked to stop finishes instead. */
const TOO_LATE_TO_ABORT = 85;

export interface BackgroundOperationOptions {
  readonly clock: Clock;
  /** Whether such an operation could have been started with such input. */
  canFinish(opcode: number, input: Uint8Array): boolean;
  /** Applies what the operation was started for. */
  finish(opcode: number, input: Uint8Array): void;
  /** The operation has come to its end, after `finish`. */
  finished(): void;
}

/**
 * The one background operation of a command interface. Progress moves once a second of virtual
 * time.
 *
 * @see reference/cxl.md §4.3
 */
export class BackgroundOperation {
  readonly #options: BackgroundOperationOptions;
  #opcode = 0;
  #percent = 0;
  #returnCode: ReturnCode = RETURN_CODE.SUCCESS;
  #input = new Uint8Array(0);
  #startedAt = 0n;
  #runtimeNs = 0n;
  #cancel: (() => void) | undefined;

  constructor(options: BackgroundOperationOptions) {
    this.#options = options;
  }

  get running(): boolean {
    return this.#cancel !== undefined;
  }
  /** Of the operation that runs or ran last; 0 when there was none since the reset. */
  get opcode(): number {
    return this.#opcode;
  }
  get percent(): number {
    return this.#percent;
  }
  get returnCode(): ReturnCode {
    return this.#returnCode;
  }
  /** Background command status register. CXL 3.1 §8.2.8.4.7 */
  get status(): bigint {
    return (
      BigInt(this.#opcode) | (BigInt(this.#percent) << 16n) | (BigInt(this.#returnCode) << 32n)
    );
  }

  start(opcode: number, input: Uint8Array, runtimeMs: number): void {
    if (this.running) throw new Error('a background operation is running already');
    this.#opcode = opcode;
    this.#input = input.slice();
    this.#percent = 0;
    this.#returnCode = RETURN_CODE.SUCCESS;
    this.#startedAt = this.#options.clock.now();
    this.#runtimeNs = BigInt(runtimeMs) * NS_PER_MS;
    this.#arm(this.#startedAt + TICK_NS);
  }

  /** Stops the operation, unless it is nearly done. */
  abort(): void {
    if (!this.running || this.#percent >= TOO_LATE_TO_ABORT) return;
    this.#stop();
    this.#returnCode = RETURN_CODE.ABORTED;
  }

  /** Forgets the operation; what it was to do is not done. */
  reset(): void {
    this.#stop();
    this.#opcode = 0;
    this.#percent = 0;
    this.#returnCode = RETURN_CODE.SUCCESS;
  }

  #arm(deadline: bigint): void {
    this.#cancel = this.#options.clock.at(deadline, () => this.#tick());
  }
  #stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
    this.#input = new Uint8Array(0);
  }
  #tick(): void {
    const now = this.#options.clock.now();
    const elapsed = now - this.#startedAt;
    if (elapsed < this.#runtimeNs) {
      this.#percent = Number((100n * elapsed) / this.#runtimeNs);
      this.#arm(now + TICK_NS);
      return;
    }
    const input = this.#input;
    this.#stop();
    this.#percent = 100;
    this.#options.finish(this.#opcode, input);
    this.#options.finished();
  }

  save(): DeviceState {
    return {
      opcode: this.#opcode,
      percent: this.#percent,
      returnCode: this.#returnCode,
      running: this.running,
      input: this.#input.slice(),
      elapsed: this.running ? this.#options.clock.now() - this.#startedAt : 0n,
      runtime: this.#runtimeNs,
    };
  }

  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const saved = savedOperation(state, 'saved background operation');
    const { opcode, percent, returnCode, running, input, elapsed, runtime } = saved;
    if (running && !this.#options.canFinish(opcode, input))
      throw refused(
        `saved background operation.opcode ${opcode.toString(16)}h is none that runs with such input`,
      );
    return () => {
      this.#stop();
      this.#opcode = opcode;
      this.#percent = percent;
      this.#returnCode = returnCode as ReturnCode;
      this.#runtimeNs = runtime;
      if (!running) return;
      this.#input = input;
      this.#startedAt = this.#options.clock.now() - elapsed;
      this.#arm(this.#startedAt + (elapsed / TICK_NS + 1n) * TICK_NS);
    };
  }
}

const savedOperation = fields({
  opcode: integer(0xffff),
  percent: integer(100),
  returnCode: integer(0xffff),
  running: flag,
  input: bytes(LONGEST_INPUT, 0),
  /** Nanoseconds since it was started. */
  elapsed: unsigned(),
  /** Nanoseconds that it takes. */
  runtime: unsigned(),
});
