import { PreparedJson } from '../session/target.js';
import { formatDouble } from './number.js';

const PLAIN = /^[ !#-[\]-~]*$/;
/** The letter behind the backslash, by character code; 0 where there is none. */
const NAMED = new Uint8Array(128);
for (const pair of ['""', '\\\\', '\bb', '\ff', '\nn', '\rr', '\tt'])
  NAMED[pair.charCodeAt(0)] = pair.charCodeAt(1);
const BACKSLASH = 0x5c;
const REPLACEMENT = 0xfffd;
const HEX = Buffer.from('0123456789ABCDEF');
/** Code units that are escaped at a time; each takes at most six bytes. */
const PIECE = 16_384;

const isHigh = (code: number): boolean => code >= 0xd800 && code <= 0xdbff;
const isLow = (code: number): boolean => code >= 0xdc00 && code <= 0xdfff;

/** The code unit at `at`; half a surrogate pair becomes U+FFFD. */
const unitAt = (text: string, at: number): number => {
  const code = text.charCodeAt(at);
  const isHalf =
    (isHigh(code) && !isLow(text.charCodeAt(at + 1))) ||
    (isLow(code) && !isHigh(text.charCodeAt(at - 1)));
  return isHalf ? REPLACEMENT : code;
};

/** Writes one code unit that cannot stand for itself; returns where the next one goes. */
const escapeInto = (out: Buffer, at: number, code: number): number => {
  out[at] = BACKSLASH;
  const named = NAMED[code] ?? 0;
  if (named !== 0) {
    out[at + 1] = named;
    return at + 2;
  }
  out[at + 1] = 0x75;
  for (let digit = 0; digit < 4; digit++)
    out[at + 2 + digit] = HEX[(code >> (12 - 4 * digit)) & 0xf] ?? 0;
  return at + 6;
};

/** Table-driven and piece by piece: a message may be one string of 64 MiB. */
const quoteEscaped = (text: string): string => {
  const out = Buffer.allocUnsafe(6 * Math.min(text.length, PIECE));
  let quoted = '"';
  for (let from = 0; from < text.length; from += PIECE) {
    const to = Math.min(from + PIECE, text.length);
    let length = 0;
    for (let at = from; at < to; at++) {
      const code = unitAt(text, at);
      const isPlain = code >= 0x20 && code < 0x7f && code !== 0x22 && code !== BACKSLASH;
      if (isPlain) out[length++] = code;
      else length = escapeInto(out, length, code);
    }
    quoted += out.toString('latin1', 0, length);
  }
  return `${quoted}"`;
};

/** A string as ASCII JSON; a lone surrogate becomes U+FFFD. */
export const quote = (text: string): string =>
  PLAIN.test(text) ? `"${text}"` : quoteEscaped(text);

const unwritable = (value: unknown): RangeError =>
  new RangeError(`no JSON for a value of type ${typeof value}`);

const scalar = (value: unknown): string => {
  if (typeof value === 'string') return quote(value);
  if (typeof value === 'boolean') return value ? 'true' : 'false';
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number' && Number.isFinite(value)) return formatDouble(value);
  if (value === null) return 'null';
  throw unwritable(value);
};

/**
 * A value in the one-line form: members in the order given, `undefined` ones left out.
 *
 * @see reference/qmp-protocol.md §1.1, §1.4
 */
export const writeJson = (value: unknown): string => {
  if (typeof value !== 'object' || value === null) return scalar(value);
  if (value instanceof PreparedJson) return value.text;
  if (Array.isArray(value)) return writeArray(value);
  let text = '';
  for (const key in value) {
    const member = (value as Record<string, unknown>)[key];
    if (member === undefined) continue;
    text += `${text === '' ? '{' : ', '}${quote(key)}: ${writeJson(member)}`;
  }
  return text === '' ? '{}' : `${text}}`;
};

const writeArray = (items: readonly unknown[]): string => {
  let text = '';
  for (const item of items) text += (text === '' ? '[' : ', ') + writeJson(item);
  return text === '' ? '[]' : `${text}]`;
};

const INDENT = '    ';

/** A value in the form of `pretty=on`: one item per line, four spaces, lines end in CR LF. */
export const writePretty = (value: unknown, indent = ''): string => {
  if (typeof value !== 'object' || value === null) return scalar(value);
  if (value instanceof PreparedJson) return writePretty(value.value, indent);
  const inner = indent + INDENT;
  const items: string[] = [];
  if (Array.isArray(value))
    for (const item of value as unknown[]) items.push(inner + writePretty(item, inner));
  else
    for (const [key, member] of Object.entries(value as Record<string, unknown>))
      if (member !== undefined) items.push(`${inner}${quote(key)}: ${writePretty(member, inner)}`);
  const [open, close] = Array.isArray(value) ? ['[', ']'] : ['{', '}'];
  const body = items.length === 0 ? '' : `${items.join(',\r\n')}\r\n`;
  return `${open}\r\n${body}${indent}${close}`;
};
