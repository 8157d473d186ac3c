import type { DeviceState, StateValue } from '../core/device.js';
import { bitsOf, fields, integer, list } from '../core/saved-state.js';

/** CXL RAS capability structure; offsets from its start. CXL 3.1 §8.2.4.17. */
const RAS = {
  UNCORRECTABLE_STATUS: 0x00,
  UNCORRECTABLE_MASK: 0x04,
  UNCORRECTABLE_SEVERITY: 0x08,
  CORRECTABLE_STATUS: 0x0c,
  CORRECTABLE_MASK: 0x10,
  CONTROL: 0x14,
  HEADER_LOG: 0x18,
} as const;
export const RAS_SIZE = 0x58;

const UNCORRECTABLE = 0x1cfff;
const CORRECTABLE = 0x7f;
const MULTIPLE_HEADERS = 0x200;
const NO_ERROR = 0x3f;
/** DWORDs of the header log. */
const LOG_DWORDS = 16;
/** DWORDs that one record may bring. reference/cxl.md §7.1. */
const HEADER_DWORDS = 32;

/** Status bits of uncorrectable errors, as QMP names them. */
export const UNCORRECTABLE_BIT = {
  'cache-data-parity': 0,
  'cache-address-parity': 1,
  'cache-be-parity': 2,
  'cache-data-ecc': 3,
  'mem-data-parity': 4,
  'mem-address-parity': 5,
  'mem-be-parity': 6,
  'mem-data-ecc': 7,
  'reinit-threshold': 8,
  'rsvd-encoding': 9,
  'poison-received': 10,
  'receiver-overflow': 11,
  internal: 14,
  'cxl-ide-tx': 15,
  'cxl-ide-rx': 16,
} as const;
/** Status bits of correctable errors. */
export const CORRECTABLE_BIT = {
  'cache-data-ecc': 0,
  'mem-data-ecc': 1,
  'crc-threshold': 2,
  'retry-threshold': 3,
  'cache-poison-received': 4,
  'mem-poison-received': 5,
  physical: 6,
} as const;

/** One uncorrectable error: the number of its status bit, and the header that goes to the log. */
export interface UncorrectableError {
  readonly bit: number;
  readonly header: readonly number[];
}

/** Error records kept at most; further ones are dropped like those of a full hardware queue. */
const QUEUE_LIMIT = 1024;

/**
 * Error registers of one component, with a queue of uncorrectable errors behind the one header log.
 *
 * @see reference/cxl.md §3.1
 */
export class Ras {
  #mask = UNCORRECTABLE;
  #severity = UNCORRECTABLE;
  #correctable = 0;
  #correctableMask = CORRECTABLE;
  #queue: UncorrectableError[] = [];
  /** What the pointer reads before the first error. */
  #pointer = 0;

  readonly #hasErrors: boolean;

  /** @param options.hasErrors false for ports, whose errors nobody injects: their pointer stays 0 */
  constructor({ hasErrors }: { readonly hasErrors: boolean }) {
    this.#hasErrors = hasErrors;
  }

  get #status(): number {
    return this.#queue.reduce((bits, { bit }) => bits | (1 << bit), 0);
  }

  /** @param offset a multiple of 4 */
  read(offset: number): number {
    switch (offset) {
      case RAS.UNCORRECTABLE_STATUS:
        return this.#status;
      case RAS.UNCORRECTABLE_MASK:
        return this.#mask;
      case RAS.UNCORRECTABLE_SEVERITY:
        return this.#severity;
      case RAS.CORRECTABLE_STATUS:
        return this.#correctable;
      case RAS.CORRECTABLE_MASK:
        return this.#correctableMask;
      case RAS.CONTROL:
        return MULTIPLE_HEADERS | (this.#queue[0]?.bit ?? this.#pointer);
      default:
        return this.#header(offset);
    }
  }
  #header(offset: number): number {
    const at = (offset - RAS.HEADER_LOG) / 4;
    return at < LOG_DWORDS ? (this.#queue[0]?.header[at] ?? 0) >>> 0 : 0;
  }

  /** A write by software; 32 bits. */
  write(offset: number, value: number): void {
    switch (offset) {
      case RAS.UNCORRECTABLE_STATUS:
        this.#clear(value & UNCORRECTABLE);
        return;
      case RAS.UNCORRECTABLE_MASK:
        this.#mask = value & UNCORRECTABLE;
        return;
      case RAS.UNCORRECTABLE_SEVERITY:
        this.#severity = value & UNCORRECTABLE;
        return;
      case RAS.CORRECTABLE_STATUS:
        this.#correctable &= ~value;
        return;
      case RAS.CORRECTABLE_MASK:
        this.#correctableMask = value & CORRECTABLE;
        return;
      default:
    }
  }

  /** Exactly the first error's bit drops that record; anything else every record it names. */
  #clear(bits: number): void {
    const [first] = this.#queue;
    if (first !== undefined && bits === 1 << first.bit) this.#queue.shift();
    else this.#queue = this.#queue.filter(({ bit }) => (bits & (1 << bit)) === 0);
    if (this.#hasErrors) this.#pointer = NO_ERROR;
  }

  /**
   * Appends errors in order, masked ones left out.
   *
   * @returns the highest severity of those that were recorded; undefined when there was none
   */
  injectUncorrectable(errors: readonly UncorrectableError[]): 'fatal' | 'non-fatal' | undefined {
    const taken = errors
      .filter(({ bit }) => (this.#mask & (1 << bit)) === 0)
      .slice(0, QUEUE_LIMIT - this.#queue.length);
    for (const { bit, header } of taken)
      this.#queue.push({ bit, header: header.slice(0, HEADER_DWORDS) });
    if (taken.length === 0) return undefined;
    return taken.some(({ bit }) => (this.#severity & (1 << bit)) !== 0) ? 'fatal' : 'non-fatal';
  }

  /** @returns false when the bit is masked: nothing happened */
  injectCorrectable(bit: number): boolean {
    if ((this.#correctableMask & (1 << bit)) !== 0) return false;
    this.#correctable |= 1 << bit;
    return true;
  }

  reset(): void {
    this.#mask = UNCORRECTABLE;
    this.#severity = UNCORRECTABLE;
    this.#correctable = 0;
    this.#correctableMask = CORRECTABLE;
    this.#queue = [];
    this.#pointer = 0;
  }

  save(): DeviceState {
    return {
      mask: this.#mask,
      severity: this.#severity,
      correctable: this.#correctable,
      correctableMask: this.#correctableMask,
      pointer: this.#pointer,
      queue: this.#queue.map(({ bit, header }) => ({ bit, header: [...header] })),
    };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const saved = savedRas(state, 'saved error registers');
    return () => {
      this.#mask = saved.mask;
      this.#severity = saved.severity;
      this.#correctable = saved.correctable;
      this.#correctableMask = saved.correctableMask;
      this.#pointer = saved.pointer;
      this.#queue = saved.queue;
    };
  }
}

const savedRas = fields({
  mask: bitsOf(UNCORRECTABLE),
  severity: bitsOf(UNCORRECTABLE),
  correctable: bitsOf(CORRECTABLE),
  correctableMask: bitsOf(CORRECTABLE),
  pointer: integer(NO_ERROR),
  queue: list(
    fields({ bit: integer(0x1f), header: list(integer(0xffff_ffff), HEADER_DWORDS) }),
    QUEUE_LIMIT,
  ),
});
