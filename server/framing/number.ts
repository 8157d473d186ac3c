import type { JsonValue } from '../../schema/json.js';
import { BadText } from './text.js';

const INT64_MIN = -(2n ** 63n);
const UINT64_MAX = 2n ** 64n - 1n;
/** Sign and digits of the longest 64-bit integer. */
const LONGEST_INTEGER = 20;

/**
 * The value of a number token: an integer of 64 bits is a `bigint`, anything else a double.
 *
 * A double beyond the range is refused; QEMU keeps it and later prints `inf`, which is no JSON.
 *
 * @see reference/qmp-protocol.md §1.3
 */
export const parseNumber = (text: string): JsonValue | BadText => {
  if (text.length <= LONGEST_INTEGER && /^-?[0-9]+$/.test(text)) {
    const value = BigInt(text);
    if (value >= INT64_MIN && value <= UINT64_MAX) return value;
  }
  const value = Number(text);
  return Number.isFinite(value) ? value : new BadText('number out of range');
};

const DIGITS = 17;

/** Rounds half to even where `toPrecision` rounds half up: only exact ties differ. */
const seventeenDigits = (value: number): string => {
  const rounded = value.toExponential(DIGITS - 1);
  const [exact = ''] = value.toExponential(60).split('e');
  const isTie = /^50*$/.test(exact.slice(DIGITS + 1));
  const lastKept = exact.charCodeAt(DIGITS);
  if (!isTie || lastKept % 2 !== 0) return rounded;
  return `${exact.slice(0, DIGITS + 1)}${rounded.slice(rounded.indexOf('e'))}`;
};

const withoutZeros = (digits: string): string => digits.replace(/\.?0+$/, '');

/** A finite double as C prints it with `%.17g`. */
export const formatDouble = (value: number): string => {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) return String(value);
  const sign = value < 0 || Object.is(value, -0) ? '-' : '';
  const [mantissa = '', power = ''] = seventeenDigits(Math.abs(value)).split('e');
  const exponent = Number(power);
  const digits = mantissa.replace('.', '');
  if (exponent < -4 || exponent >= DIGITS) {
    const shown = String(Math.abs(exponent)).padStart(2, '0');
    return `${sign}${withoutZeros(mantissa)}e${exponent < 0 ? '-' : '+'}${shown}`;
  }
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits.replace(/0+$/, '')}`;
  const whole = digits.slice(0, exponent + 1);
  const fraction = digits.slice(exponent + 1).replace(/0+$/, '');
  return fraction === '' ? `${sign}${whole}` : `${sign}${whole}.${fraction}`;
};
