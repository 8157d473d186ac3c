import { PreparedJson } from '../session/target.js';
import { formatDouble } from './number.js';

const PLAIN = /^[ !#-[\]-~]*$/;
const SPECIAL = /[^ !#-[\]-~]/gu;
const NAMED: ReadonlyMap<string, string> = new Map([
  ['"', '\\"'],
  ['\\', '\\\\'],
  ['\b', '\\b'],
  ['\f', '\\f'],
  ['\n', '\\n'],
  ['\r', '\\r'],
  ['\t', '\\t'],
]);

const unit = (code: number): string => `\\u${code.toString(16).toUpperCase().padStart(4, '0')}`;

const escape = (character: string): string => {
  const named = NAMED.get(character);
  if (named !== undefined) return named;
  const code = character.charCodeAt(0);
  if (character.length === 2) return unit(code) + unit(character.charCodeAt(1));
  return unit(code >= 0xd800 && code <= 0xdfff ? 0xfffd : code);
};

/** A string as ASCII JSON; a lone surrogate becomes U+FFFD. */
export const quote = (text: string): string =>
  PLAIN.test(text) ? `"${text}"` : `"${text.replace(SPECIAL, escape)}"`;

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
