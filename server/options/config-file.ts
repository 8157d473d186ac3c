import { readFileSync } from 'node:fs';
import { isJsonObject, type JsonObject, type JsonValue } from '../../schema/json.js';
import type { Infer } from '../../schema/lang.js';
import { checkValue } from '../../schema/validate.js';
import type {
  MachineConfig,
  MonitorConfig,
  MonitorEndpoint,
  QtestConfig,
  Written,
} from '../config.js';
import { JsonStream } from '../framing/stream.js';
import { parseLimit, limitsWith, type LimitName } from '../limits.js';
import { LOG_LEVELS } from '../log.js';
import { parseCommandLine, type Options } from './command-line.js';
import { ConfigFile, ConfigMachine, ConfigMonitor, ConfigQtest } from './config-schema.js';

/** `--config FILE`: many machines from one JSON file, refused as a whole when any part is bad. */

const DEFAULT_LISTEN = '127.0.0.1:7710';
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

/** Runs `action`; what it throws is told with the place in the file. */
const at = <T>(place: string, action: () => T): T => {
  try {
    return action();
  } catch (error) {
    throw new Error(`${place}: ${messageOf(error)}`, { cause: error });
  }
};

/** The text as a JSON value with exact integers. @throws Error with the position of a mistake */
const parse = (text: string): JsonValue => {
  // The strict parser tells where a mistake is; the exact one keeps integers beyond 2^53.
  JSON.parse(text);
  const stream = new JsonStream();
  stream.push(Buffer.from(`${text} null `));
  const item = stream.next();
  if (item?.kind !== 'value')
    throw new Error(item?.kind === 'error' ? item.desc : 'JSON parse error, premature EOI');
  return item.value;
};

/** Reads options as the command line would; the message lacks the words. @throws Error */
const readWords = (words: readonly string[]): Options => {
  try {
    const invocation = parseCommandLine(words);
    if (invocation.kind === 'run') return invocation.options;
  } catch (error) {
    const text = messageOf(error);
    const origin = `${words.join(' ')}: `;
    throw new Error(text.startsWith(origin) ? text.slice(origin.length) : text, { cause: error });
  }
  throw new Error('no options of a machine');
};

/** As the command line reads one option, with the member's name in the error. */
const readOption = (place: string, option: string, value: string): Options =>
  at(place, () => readWords([option, value]));

const written = (origin: string, value: JsonValue, needed: string): Written =>
  at(origin, () => {
    if (!isJsonObject(value)) throw new Error('an object is expected');
    if (typeof value[needed] !== 'string') throw new Error(`Parameter '${needed}' is missing`);
    return { origin, form: 'json', values: value };
  });

/** @throws Error naming the place of a path that no socket can have */
const listenOn = (place: string, path: string): MonitorEndpoint => {
  if (path === '' || path.includes('\0')) throw new Error(`${place}.path: a path is expected`);
  if (Buffer.byteLength(path) > 107)
    throw new Error(`${place}.path: a socket's path has 107 bytes at most`);
  return { kind: 'unix-listen', path, wait: false };
};

const readMonitor = (place: string, value: JsonValue): MonitorConfig => {
  const { path, pretty } = at(place, () => checkValue(ConfigMonitor, value, ''));
  return { endpoint: listenOn(place, path), pretty: pretty ?? false };
};

const readQtest = (place: string, value: JsonValue): QtestConfig => {
  const { path, log } = at(place, () => checkValue(ConfigQtest, value, ''));
  return { endpoint: listenOn(place, path), log };
};

const readMachine = (place: string, value: JsonValue): MachineConfig => {
  const given = at(place, () => checkValue(ConfigMachine, value, ''));
  const { name, machine, memory, uuid } = given;
  if (!NAME.test(name))
    throw new Error(
      `${place}.name: '${name}' is not 1 to 64 letters, digits and ._- beginning with a letter or digit`,
    );
  const options = [readOption(`${place}.machine`, '-machine', machine ?? 'pc')];
  const words = ['-machine', machine ?? 'pc', '-name', given['guest-name'] ?? name];
  if (memory !== undefined) {
    options.push(readOption(`${place}.memory`, '-m', memory));
    words.push('-m', memory);
  }
  if (uuid !== undefined) {
    options.push(readOption(`${place}.uuid`, '-uuid', uuid));
    words.push('-uuid', uuid);
  }
  for (const [index, text] of (given.globals ?? []).entries()) {
    options.push(readOption(`${place}.globals[${String(index)}]`, '-global', text));
    words.push('-global', text);
  }
  const policy = given['guest-policy'];
  if (policy !== undefined) words.push('-machine', `guest-policy=${policy}`);
  if (given.defaults === false) words.push('-nodefaults');
  if (given.paused === true) words.push('-S');
  const [base] = at(place, () => readWords(words)).machines;
  if (base === undefined) throw new Error(`${place}: no machine`);
  const list = (member: 'objects' | 'devices', needed: string): Written[] =>
    (given[member] ?? []).map((entry, index) =>
      written(`${place}.${member}[${String(index)}]`, entry as JsonValue, needed),
    );
  return {
    ...base,
    name,
    origin: place,
    guestName: given['guest-name'] ?? name,
    incoming: given.incoming,
    objects: list('objects', 'qom-type'),
    devices: list('devices', 'driver'),
    qtest:
      given.qtest === undefined ? undefined : readQtest(`${place}.qtest`, given.qtest as JsonValue),
    monitors: (given.monitors ?? []).map((entry, index) =>
      readMonitor(`${place}.monitors[${String(index)}]`, entry as JsonValue),
    ),
  };
};

/** @throws Error for a name or a socket that two machines want */
const checkDistinct = (machines: readonly MachineConfig[]): void => {
  const names = new Map<string, string>();
  const paths = new Map<string, string>();
  const claim = (taken: Map<string, string>, key: string, place: string, member: string): void => {
    const by = taken.get(key);
    if (by !== undefined) throw new Error(`${place}.${member}: '${key}' is taken by ${by}`);
    taken.set(key, place);
  };
  for (const [index, { name, monitors, qtest }] of machines.entries()) {
    const place = `machines[${String(index)}]`;
    claim(names, name, place, 'name');
    const sockets = monitors.map(({ endpoint }, number): [MonitorEndpoint, string] => [
      endpoint,
      `${place}.monitors[${String(number)}]`,
    ]);
    if (qtest !== undefined) sockets.push([qtest.endpoint, `${place}.qtest`]);
    for (const [endpoint, owner] of sockets)
      if (endpoint.kind === 'unix-listen') claim(paths, endpoint.path, owner, 'path');
  }
};

/** The limits of the file under those of the command line. */
const readLimits = (given: JsonObject): Partial<Record<LimitName, number>> => {
  const limits: Partial<Record<LimitName, number>> = {};
  for (const [key, value] of Object.entries(given)) {
    const limit = at(`limits.${key}`, () => parseLimit(`${key}=${String(value)}`));
    limits[limit.name] = limit.value;
  }
  return limits;
};

type File = Infer<typeof ConfigFile>;

const readFile = (text: string): { file: File; machines: MachineConfig[] } => {
  const value = parse(text);
  if (!isJsonObject(value)) throw new Error('an object is expected');
  const file = checkValue(ConfigFile, value, '');
  if (file.machines.length === 0) throw new Error('machines: one machine at least is expected');
  const machines = file.machines.map((machine, index) =>
    readMachine(`machines[${String(index)}]`, machine as JsonValue),
  );
  checkDistinct(machines);
  return { file, machines };
};

/**
 * The options of the command line completed by the file; where both say something, the command line
 * counts. Nothing but the file is opened.
 *
 * @throws Error naming the file, the place in it and what is wrong
 */
export const withConfigFile = (options: Options, path: string): Options =>
  at(path, () => {
    const { file, machines } = readFile(readFileSync(path, 'utf8'));
    const level = LOG_LEVELS.find((known) => known === file['log-level']);
    const listen =
      file.listen === ''
        ? undefined
        : readOption('listen', '--listen', file.listen ?? DEFAULT_LISTEN);
    const limits = at('limits', () => readLimits((file.limits ?? {}) as JsonObject));
    return {
      ...options,
      // What fails only when a machine is built is told with the file too.
      machines: machines.map((machine) => ({
        ...machine,
        origin: `${path}: ${machine.origin ?? ''}`,
        objects: machine.objects.map((entry) => ({ ...entry, origin: `${path}: ${entry.origin}` })),
        devices: machine.devices.map((entry) => ({ ...entry, origin: `${path}: ${entry.origin}` })),
      })),
      buildFirst: true,
      listen: options.listen ?? listen?.listen,
      tokenFile: options.tokenFile ?? file['token-file'],
      pidfile: options.pidfile ?? file.pidfile,
      logLevel: options.given.has('log-level') ? options.logLevel : (level ?? options.logLevel),
      limits: limitsWith({ ...limits, ...options.givenLimits }),
    };
  });
