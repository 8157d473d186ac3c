import { isJsonObject, type JsonObject, type JsonValue } from '../schema/json.js';
import type { Call } from './call.js';
import { isWebSocketUrl } from './channel.js';
import type { ConnectionError } from './client.js';
import { demoSocketPath } from './paths.js';
import type { LiveSchema } from './shell/live-schema.js';

/** What a person may have meant, where the reason of a failure alone does not say it. */

type Environment = Readonly<Record<string, string | undefined>>;

const ABSENT: readonly (string | undefined)[] = ['ENOENT', 'ECONNREFUSED'];

const demoHint = ({ XDG_RUNTIME_DIR: folder = '' }: Environment): string =>
  `npm start runs the demonstration, whose socket this is as XDG_RUNTIME_DIR is ${folder || 'not set'}`;

/** How to reach somebody; undefined when the reason says enough. */
export const connectionHint = (
  { address, code }: ConnectionError,
  env: Environment,
): string | undefined => {
  if (address === undefined) return undefined;
  if (ABSENT.includes(code) && address === demoSocketPath(env)) return demoHint(env);
  if (code !== 'HTTP 404' || !isWebSocketUrl(address)) return undefined;
  const { origin, pathname } = new URL(address);
  if (pathname === '/qmp') return `\`qmemctl -s ${origin} machines\` lists them, -m NAME takes one`;
  return `\`qmemctl -s ${origin} machines\` lists what is there`;
};

/** A size as command lines take it. */
const SIZE = /^([0-9]+)([KMGTPE])(?:i?B)?$/i;
const plainNumber = (text: string): bigint | undefined => {
  const [, digits, suffix = ''] = SIZE.exec(text) ?? [];
  if (digits === undefined) return undefined;
  return BigInt(digits) << BigInt(10 * (1 + 'KMGTPE'.indexOf(suffix.toUpperCase())));
};

interface Leaf {
  readonly steps: readonly string[];
  readonly text: string;
}
const textsIn = (value: JsonValue, steps: readonly string[] = []): Leaf[] => {
  if (typeof value === 'string') return [{ steps, text: value }];
  if (!Array.isArray(value) && !isJsonObject(value)) return [];
  return Object.entries(value).flatMap(([key, part]) => textsIn(part, [...steps, key]));
};

/** Sizes with a suffix among the arguments, which the schema may want as numbers. */
export const hasSizes = (args: JsonObject): boolean =>
  textsIn(args).some(({ text }) => plainNumber(text) !== undefined);

/** Tells the number where a size with a suffix was given for an integer; undefined: nowhere. */
export const sizeHint = ({ command, args }: Call, schema: LiveSchema): string | undefined => {
  const texts = textsIn(args);
  const given = (path: string): string | undefined =>
    texts.find(({ steps }) => steps.join('.') === path)?.text;
  for (const { steps, text } of texts) {
    const number = plainNumber(text);
    const members = schema.argumentsOf(command, steps.slice(0, -1), given) ?? [];
    const type = members.find(({ name }) => name === steps.at(-1))?.type ?? '';
    if (number !== undefined && schema.isInteger(type))
      return `${steps.join('.')} takes a plain number: ${text} is ${String(number)}`;
  }
  return undefined;
};
