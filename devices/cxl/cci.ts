import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from '../core/device.js';
import { fields, integer, part } from '../core/saved-state.js';
import type { Clock } from '../core/clock.js';
import { BackgroundOperation } from './background-operation.js';
import { RETURN_CODE, type ReturnCode } from './return-code.js';

/** Bits of the effect word of the command effects log, as QEMU has them. reference/cxl.md §5.2 */
export const EFFECT = {
  COLD_RESET: 0x0001,
  CONFIG_CHANGE: 0x0002,
  DATA_CHANGE: 0x0004,
  POLICY_CHANGE: 0x0008,
  LOG_CHANGE: 0x0010,
  SECURITY_CHANGE: 0x0020,
  BACKGROUND: 0x0040,
  ABORTABLE: 0x0080,
  CONVENTIONAL_RESET: 0x0800,
  CXL_RESET: 0x1000,
} as const;

/** The command goes on in the background for so long; its `finish` then applies the effect. */
export interface BackgroundStart {
  readonly runtimeMs: number;
}
/** A return code, the output of a success, or the start of a background operation. */
export type CommandResult = ReturnCode | Uint8Array | BackgroundStart;

/** One command of a component command interface. */
export interface CciCommand {
  /** Command set in bits 15:8, command in 7:0. */
  readonly opcode: number;
  /** Bytes of input; undefined when they vary. */
  readonly inputLength: number | undefined;
  /** Bits of EFFECT. */
  readonly effects: number;
  /** All or nothing: whatever is not a success changes nothing. */
  run(input: Uint8Array): CommandResult;
  /** For background operations whose input varies: whether such an input can have started one. */
  accepts?(input: Uint8Array): boolean;
  /** Applies a background operation; `input` is what started it. */
  finish?(input: Uint8Array): void;
}

export interface CciReply {
  readonly code: ReturnCode;
  readonly output: Uint8Array;
}

export interface CciOptions {
  readonly clock: Clock;
  /** Most bytes of input and of output; a power of two. */
  readonly payloadSize: number;
  /** Whether the device may not act; default never. */
  readonly stopped?: (() => boolean) | undefined;
  /** Whether sanitizing keeps software from the media; default never. */
  readonly mediaDisabled?: () => boolean;
  /** A background operation has come to its end. */
  readonly backgroundFinished?: () => void;
}

/** Not answered while the media is disabled; sanitizing again is the way out. reference/cxl.md §5.1 */
const MEDIA_COMMANDS: ReadonlySet<number> = new Set([
  0x0100, 0x0201, 0x0202, 0x0401, 0x4100, 0x4102, 0x4103, 0x4300, 0x4301, 0x4302,
]);
const NOTHING = new Uint8Array(0);

/**
 * A component command interface: a table of commands and one background operation. Registers,
 * tunnels and other transports hand it commands.
 *
 * @see reference/cxl.md §5.1
 */
export class Cci {
  /** Most bytes of input and of output; software of a tunnel may choose another power of two. */
  payloadSize: number;
  readonly background: BackgroundOperation;
  readonly #options: CciOptions;
  readonly #commands = new Map<number, CciCommand>();

  constructor(options: CciOptions) {
    this.#options = options;
    this.payloadSize = options.payloadSize;
    this.background = new BackgroundOperation({
      clock: options.clock,
      canFinish: (opcode, input) => this.#canFinish(opcode, input),
      finish: (opcode, input) => this.#commands.get(opcode)?.finish?.(input),
      finished: () => options.backgroundFinished?.(),
    });
  }

  /** Adds a command set. */
  add(commands: readonly CciCommand[]): void {
    for (const command of commands) {
      if (this.#commands.has(command.opcode))
        throw new RangeError(`opcode ${command.opcode.toString(16)}h is there already`);
      this.#commands.set(command.opcode, command);
    }
  }

  /** Opcode and effects of every command, by opcode. */
  get commands(): readonly { readonly opcode: number; readonly effects: number }[] {
    return [...this.#commands.values()].sort((a, b) => a.opcode - b.opcode);
  }

  /** A stopped device is busy, whoever asks. */
  execute(opcode: number, input: Uint8Array): CciReply {
    if (this.#options.stopped?.() === true) return { code: RETURN_CODE.BUSY, output: NOTHING };
    const command = this.#commands.get(opcode);
    const code = command === undefined ? RETURN_CODE.UNSUPPORTED : this.#check(command, input);
    if (command === undefined || code !== RETURN_CODE.SUCCESS) return { code, output: NOTHING };
    const result = command.run(input);
    if (typeof result === 'number') return { code: result, output: NOTHING };
    if (result instanceof Uint8Array) return { code: RETURN_CODE.SUCCESS, output: result };
    this.background.start(opcode, input, result.runtimeMs);
    return { code: RETURN_CODE.BACKGROUND_STARTED, output: NOTHING };
  }

  #check({ opcode, inputLength, effects }: CciCommand, input: Uint8Array): ReturnCode {
    const fits = inputLength === undefined || input.length === inputLength;
    if (!fits || input.length > this.payloadSize) return RETURN_CODE.INVALID_PAYLOAD_LENGTH;
    if ((effects & EFFECT.BACKGROUND) !== 0 && this.background.running) return RETURN_CODE.BUSY;
    if (MEDIA_COMMANDS.has(opcode) && this.#options.mediaDisabled?.() === true)
      return RETURN_CODE.MEDIA_DISABLED;
    return RETURN_CODE.SUCCESS;
  }

  #canFinish(opcode: number, input: Uint8Array): boolean {
    const command = this.#commands.get(opcode);
    if (command === undefined || (command.effects & EFFECT.BACKGROUND) === 0) return false;
    const { inputLength, accepts } = command;
    if (inputLength !== undefined) return input.length === inputLength;
    return input.length <= this.#options.payloadSize && accepts?.(input) === true;
  }

  /** Whether the operation that runs or ran last can be aborted. */
  get abortable(): boolean {
    const command = this.#commands.get(this.background.opcode);
    return ((command?.effects ?? 0) & EFFECT.ABORTABLE) !== 0;
  }

  reset(): void {
    this.background.reset();
    this.payloadSize = this.#options.payloadSize;
  }
  save(): DeviceState {
    return { background: this.background.save(), payloadSize: this.payloadSize };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const { background, payloadSize } = savedCci(state, 'saved command interface');
    if (!Number.isInteger(Math.log2(payloadSize)))
      throw refused('saved command interface.payloadSize must be a power of two');
    const apply = this.background.prepareLoad(background);
    return () => {
      apply();
      this.payloadSize = payloadSize;
    };
  }
}

const savedCci = fields({ background: part, payloadSize: integer(1 << 20, 1) });
