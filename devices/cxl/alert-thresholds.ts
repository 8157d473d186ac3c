import type { StateValue } from '../core/device.js';
import { bytes } from '../core/saved-state.js';
import { viewOf } from './bytes.js';
import { RETURN_CODE, type ReturnCode } from './return-code.js';

const SIZE = 16;
/** Offsets in Get Alert Configuration. CXL 3.1 §8.2.9.9.3.2 table 8-132 */
const AT = { VALID: 0, ENABLED: 1, LIFE_CRITICAL: 2, LIFE_WARN: 3 } as const;
const AT_WORD = { OVER_CRITICAL: 4, UNDER_CRITICAL: 6, OVER_WARN: 8, UNDER_WARN: 10 } as const;
const CORRECTED = { VOLATILE: 12, PERSISTENT: 14 } as const;

/** Bits of the mask of Set Alert Configuration. */
const ALERT = { LIFE: 1, OVER: 2, UNDER: 4, VOLATILE: 8, PERSISTENT: 16 } as const;
/** Offsets in Set Alert Configuration. §8.2.9.9.3.3 */
const SET = { MASK: 0, LIFE: 2, OVER: 4, UNDER: 6, VOLATILE: 8, PERSISTENT: 10 } as const;

const initial = (): Uint8Array => {
  const bytes = new Uint8Array(SIZE);
  const view = viewOf(bytes);
  view.setUint8(AT.LIFE_CRITICAL, 75);
  view.setUint8(AT.LIFE_WARN, 40);
  view.setUint16(AT_WORD.OVER_CRITICAL, 35, true);
  view.setUint16(AT_WORD.UNDER_CRITICAL, 10, true);
  view.setUint16(AT_WORD.OVER_WARN, 25, true);
  view.setUint16(AT_WORD.UNDER_WARN, 20, true);
  return bytes;
};

/** When the device warns of its health. reference/cxl.md §5.5 */
export class AlertThresholds {
  #bytes = initial();

  /** As Get Alert Configuration has them. */
  get bytes(): Uint8Array {
    return this.#bytes.slice();
  }

  /** All of the chosen thresholds, or none. */
  set(input: Uint8Array): ReturnCode {
    const given = viewOf(input);
    const now = viewOf(this.#bytes);
    const mask = given.getUint8(SET.MASK);
    const life = given.getUint8(SET.LIFE);
    const over = given.getUint16(SET.OVER, true);
    const under = given.getUint16(SET.UNDER, true);
    const wrong =
      ((mask & ALERT.LIFE) !== 0 && life >= now.getUint8(AT.LIFE_CRITICAL)) ||
      ((mask & ALERT.OVER) !== 0 && over >= now.getUint16(AT_WORD.OVER_CRITICAL, true)) ||
      ((mask & ALERT.UNDER) !== 0 && under <= now.getUint16(AT_WORD.UNDER_CRITICAL, true));
    if (wrong) return RETURN_CODE.INVALID_INPUT;
    if ((mask & ALERT.LIFE) !== 0) now.setUint8(AT.LIFE_WARN, life);
    const word = (bit: number, at: number, from: number): void => {
      if ((mask & bit) !== 0) now.setUint16(at, given.getUint16(from, true), true);
    };
    word(ALERT.OVER, AT_WORD.OVER_WARN, SET.OVER);
    word(ALERT.UNDER, AT_WORD.UNDER_WARN, SET.UNDER);
    word(ALERT.VOLATILE, CORRECTED.VOLATILE, SET.VOLATILE);
    word(ALERT.PERSISTENT, CORRECTED.PERSISTENT, SET.PERSISTENT);
    now.setUint8(AT.ENABLED, now.getUint8(AT.ENABLED) | (mask & 0x1f));
    return RETURN_CODE.SUCCESS;
  }

  save(): StateValue {
    return this.bytes;
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const thresholds = bytes(SIZE)(state, 'saved alert thresholds');
    return () => {
      this.#bytes = thresholds;
    };
  }
}
