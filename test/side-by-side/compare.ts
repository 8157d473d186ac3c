import { writeJson, type Json } from './client.js';

type Members = { readonly [key: string]: Json };

/** One place where the two answers to a request are not the same; undefined = not there. */
export interface Difference {
  readonly request: string;
  readonly path: string;
  readonly qemu: Json | undefined;
  readonly qmemd: Json | undefined;
}

/** What a request was answered with: the messages by kind, and the order in which they came. */
interface Answer {
  readonly [key: string]: Json;
}

/** Lists whose order is not promised, with the member that names an element. */
const SETS: readonly (readonly [execute: string, key: string])[] = [
  ['qom-list', 'name'],
  ['qom-list-types', 'name'],
  ['device-list-properties', 'name'],
  ['qom-list-properties', 'name'],
  ['query-memdev', 'id'],
  ['query-chardev', 'label'],
  ['query-chardev-backends', 'name'],
];

const isMembers = (value: Json | undefined): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);

const byKey = (list: readonly Json[], key: string): Json =>
  Object.fromEntries(list.map((item) => [isMembers(item) ? String(item[key]) : '', item]));

const answer = (request: string, messages: readonly Json[]): Answer => {
  const events = messages.filter((message) => isMembers(message) && 'event' in message);
  const reply = messages.find((message) => !events.includes(message)) as Members;
  const order = messages.map((message) =>
    isMembers(message) && 'event' in message ? (message['event'] as Json) : 'reply',
  );
  const key = SETS.find(([execute]) => request.includes(`"execute": "${execute}"`))?.[1];
  const returned = reply['return'];
  const set = key !== undefined && isList(returned) ? { return: byKey(returned, key) } : {};
  return { ...reply, ...set, events, order };
};

const step = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);

function* walk(
  path: string,
  qemu: Json | undefined,
  qmemd: Json | undefined,
): Generator<Omit<Difference, 'request'>> {
  if (isMembers(qemu) && isMembers(qmemd)) {
    const keys = new Set([...Object.keys(qemu), ...Object.keys(qmemd)]);
    for (const key of keys) yield* walk(step(path, key), qemu[key], qmemd[key]);
  } else if (isList(qemu) && isList(qmemd)) {
    const length = Math.max(qemu.length, qmemd.length);
    for (let i = 0; i < length; i++) yield* walk(`${path}[${i}]`, qemu[i], qmemd[i]);
  } else if (qemu !== qmemd) {
    yield { path, qemu, qmemd };
  }
}

/** Compares everything that the two servers sent for `request`; sets as sets, all else exactly. */
export const compare = (
  request: string,
  qemu: readonly Json[],
  qmemd: readonly Json[],
): Difference[] =>
  [...walk('', answer(request, qemu), answer(request, qmemd))].map((found) => ({
    request,
    ...found,
  }));

const show = (value: Json | undefined): string =>
  value === undefined ? 'absent' : writeJson(value);

/** One line for the test's output. */
export const describe = ({ request, path, qemu, qmemd }: Difference): string =>
  `${request} -> ${path}: QEMU ${show(qemu)}, qmemd ${show(qmemd)}`;

/** Says whether a difference is one that a row of the table allows. */
export interface Tolerated {
  readonly request: RegExp;
  readonly path: RegExp;
  /** What each side says there, as JSON text; absent values read `absent`. */
  readonly qemu: RegExp;
  readonly qmemd: RegExp;
  readonly what: string;
  /** Section of the references, or row of docs/differences.md. */
  readonly see: string;
}

export const allows = (row: Tolerated, found: Difference): boolean =>
  row.request.test(found.request) &&
  row.path.test(found.path) &&
  row.qemu.test(show(found.qemu)) &&
  row.qmemd.test(show(found.qmemd));
