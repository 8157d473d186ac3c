import { isJsonObject, type JsonValue } from '../../schema/json.js';
import type { Infer } from '../../schema/lang.js';
import { checkValue } from '../../schema/validate.js';
import type {
  ChardevConfig,
  MachineConfig,
  MonitorConfig,
  MonitorEndpoint,
  QtestConfig,
  Written,
} from '../config.js';
import { parseCommandLine, type Options } from './command-line.js';
import type { Place } from './config-place.js';
import { ConfigMachine, ConfigMonitor, ConfigQtest } from './config-schema.js';
import { readChardev, readQmp, shareChardevs, type MonOption } from './monitors.js';

/** One machine of a configuration file. */

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

type Given = Infer<typeof ConfigMachine>;

/** Reads options as the command line would; the message lacks the words. @throws Error */
const readWords = (words: readonly string[]): Options => {
  try {
    const invocation = parseCommandLine(words, 'file');
    if (invocation.kind === 'run') return invocation.options;
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    const origin = `${words.join(' ')}: `;
    throw new Error(text.startsWith(origin) ? text.slice(origin.length) : text, { cause: error });
  }
  throw new Error('no options of a machine');
};

/** As the command line reads one option, with the member's place in the error. */
export const readOption = (place: Place, option: string, value: string): Options =>
  place.at(() => readWords([option, value]));

const written = (place: Place, value: JsonValue, needed: string): Written => {
  if (!isJsonObject(value)) throw place.problem('an object is expected');
  if (typeof value[needed] !== 'string') throw place.problem(`Parameter '${needed}' is missing`);
  return { origin: place.origin, form: 'json', values: value };
};

const listenOn = (path: string): MonitorEndpoint => ({ kind: 'unix-listen', path, wait: false });

const readMonitor = (place: Place, value: JsonValue): MonOption | MonitorConfig => {
  if (typeof value === 'string') return readQmp(place.origin, value, false);
  if (!isJsonObject(value)) throw place.problem('an object or a text is expected');
  const { path, pretty } = place.at(() => checkValue(ConfigMonitor, value, ''));
  const { origin } = place.member('path');
  return { origin, endpoint: listenOn(path), pretty: pretty ?? false };
};

const readQtest = (place: Place, value: JsonValue): QtestConfig => {
  if (!isJsonObject(value)) throw place.problem('an object is expected');
  const { path, log } = place.at(() => checkValue(ConfigQtest, value, ''));
  return {
    origin: place.member('path').origin,
    endpoint: listenOn(path),
    log: log === undefined ? undefined : { origin: place.member('log').origin, path: log },
  };
};

const readChardevs = (place: Place, texts: readonly string[]): ChardevConfig[] => {
  const chardevs: ChardevConfig[] = [];
  for (const [index, text] of texts.entries())
    chardevs.push(readChardev(place.item(index).origin, text, chardevs));
  return chardevs;
};

/** What the command line knows, too: its board, memory, UUID and globals. */
const readBoard = (place: Place, given: Given): MachineConfig => {
  const words: string[] = [];
  const add = (at: Place, option: string, text: string): void => {
    readOption(at, option, text);
    words.push(option, text);
  };
  add(place.member('machine'), '-machine', given.machine ?? 'pc');
  if (given.memory !== undefined) add(place.member('memory'), '-m', given.memory);
  if (given.uuid !== undefined) add(place.member('uuid'), '-uuid', given.uuid);
  for (const [index, text] of (given.globals ?? []).entries())
    add(place.member('globals').item(index), '-global', text);
  const policy = given['guest-policy'];
  if (policy !== undefined) words.push('-machine', `guest-policy=${policy}`);
  if (given.defaults === false) words.push('-nodefaults');
  if (given.paused === true) words.push('-S');
  const [board] = place.at(() => readWords(words)).machines;
  if (board === undefined) throw place.problem('no machine');
  return board;
};

/** @throws Error naming the place and what is wrong */
export const readMachine = (place: Place, value: JsonValue): MachineConfig => {
  if (!isJsonObject(value)) throw place.problem('an object is expected');
  const given = place.at(() => checkValue(ConfigMachine, value, ''));
  const { name, incoming, qtest } = given;
  if (!NAME.test(name))
    throw place
      .member('name')
      .problem(`'${name}' is not 1 to 64 letters, digits and ._- beginning with a letter or digit`);
  const list = <T>(
    member: 'objects' | 'devices' | 'monitors',
    read: (place: Place, entry: JsonValue) => T,
  ): T[] =>
    (given[member] ?? []).map((entry, index) =>
      read(place.member(member).item(index), entry as JsonValue),
    );
  const chardevs = readChardevs(place.member('chardevs'), given.chardevs ?? []);
  return {
    ...readBoard(place, given),
    name,
    origin: place.origin,
    guestName: given['guest-name'] ?? name,
    incoming,
    objects: list('objects', (at, entry) => written(at, entry, 'qom-type')),
    devices: list('devices', (at, entry) => written(at, entry, 'driver')),
    ...shareChardevs(list('monitors', readMonitor), chardevs),
    qtest: qtest === undefined ? undefined : readQtest(place.member('qtest'), qtest as JsonValue),
  };
};
