import { readFileSync } from 'node:fs';
import { isJsonObject, type JsonValue } from '../../schema/json.js';
import { checkValue } from '../../schema/validate.js';
import type { MachineConfig, ProcessOrigins } from '../config.js';
import { writeJson } from '../framing/writer.js';
import { checkLimit, limitsWith, type LimitName } from '../limits.js';
import { LOG_LEVELS } from '../log.js';
import { openFailure } from '../transport/reason.js';
import type { Options } from './command-line.js';
import { readJson } from '../framing/json-text.js';
import { readMachine, readOption } from './config-machine.js';
import { Place } from './config-place.js';
import { ConfigFile } from './config-schema.js';
import { checkStdio, endpointsOf } from './endpoints.js';

/** `--config FILE`: many machines from one JSON file, refused as a whole when any part is bad. */

const DEFAULT_LISTEN = '127.0.0.1:7710';
const MAX_PATH_BYTES = 107;

/** What is wanted once only, and by whom. */
class Claims {
  readonly #taken = new Map<string, string>();
  readonly #file: Place;

  constructor(file: Place) {
    this.#file = file;
  }

  /** @throws Error when somebody has it */
  add(key: string, origin: string): void {
    const by = this.#taken.get(key);
    // The file has been named.
    const prefix = `${this.#file.origin}: `;
    if (by !== undefined)
      throw new Error(`${origin}: '${key}' is taken by ${by.slice(prefix.length)}`);
    this.#taken.set(key, origin);
  }
}

/** @throws Error for a name that two machines have */
const checkNames = (file: Place, machines: readonly MachineConfig[]): void => {
  const names = new Claims(file);
  for (const [index, { name }] of machines.entries())
    names.add(name, file.member('machines').item(index).member('name').origin);
};

/** @throws Error for a path that no socket can have, or that two sockets want */
const checkPaths = (file: Place, machines: readonly MachineConfig[]): void => {
  const paths = new Claims(file);
  for (const { origin, endpoint } of endpointsOf(machines)) {
    if (!('path' in endpoint)) continue;
    const { kind, path } = endpoint;
    if (path === '' || path.includes('\0')) throw new Error(`${origin}: a path is expected`);
    if (Buffer.byteLength(path) > MAX_PATH_BYTES)
      throw new Error(
        `${origin}: a socket's path has ${String(MAX_PATH_BYTES)} bytes at most, '${path}' has more`,
      );
    if (kind === 'unix-listen') paths.add(path, origin);
  }
};

const readMachines = (file: Place, given: readonly unknown[]): MachineConfig[] => {
  const place = file.member('machines');
  if (given.length === 0) throw place.problem('one machine at least is expected');
  const machines = given.map((machine, index) =>
    readMachine(place.item(index), machine as JsonValue),
  );
  checkNames(file, machines);
  checkPaths(file, machines);
  checkStdio(machines);
  return machines;
};

const readLimits = (place: Place, given: JsonValue): Partial<Record<LimitName, number>> => {
  if (!isJsonObject(given)) throw place.problem('an object is expected');
  const limits: Partial<Record<LimitName, number>> = {};
  for (const [key, value] of Object.entries(given)) {
    const number = typeof value === 'bigint' ? Number(value) : NaN;
    const limit = place.member(key).at(() => checkLimit(key, number, writeJson(value)));
    limits[limit.name] = limit.value;
  }
  return limits;
};

/** What errors call a setting: the command line where it has a say, else the place in the file. */
const originsOf = (
  { listen, tokenFile, pidfile, origins }: Options,
  file: Place,
): ProcessOrigins => ({
  listen: listen ? origins.listen : file.member('listen').origin,
  tokenFile: tokenFile === undefined ? file.member('token-file').origin : origins.tokenFile,
  pidfile: pidfile === undefined ? file.member('pidfile').origin : origins.pidfile,
});

/** @throws Error that names the option */
const readText = (path: string): string => {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new Error(`--config ${path}: ${openFailure(path, error)}`, { cause: error });
  }
};

/**
 * The options of the command line completed by the file; where both say something, the command line
 * counts. Nothing but the file is opened.
 *
 * @throws Error naming the file, the place in it and what is wrong
 */
export const withConfigFile = (options: Options, path: string): Options => {
  const place = new Place(path);
  const text = readText(path);
  const value = place.at(() => readJson(text));
  if (!isJsonObject(value)) throw place.problem('an object is expected');
  const file = place.at(() => checkValue(ConfigFile, value, ''));
  const machines = readMachines(place, file.machines);
  const level = LOG_LEVELS.find((known) => known === file['log-level']);
  const listen =
    file.listen === ''
      ? undefined
      : readOption(place.member('listen'), '--listen', file.listen ?? DEFAULT_LISTEN).listen;
  const limits =
    file.limits === undefined ? {} : readLimits(place.member('limits'), file.limits as JsonValue);
  return {
    ...options,
    machines,
    buildFirst: true,
    listen: options.listen ?? listen,
    tokenFile: options.tokenFile ?? file['token-file'],
    pidfile: options.pidfile ?? file.pidfile,
    origins: originsOf(options, place),
    logLevel: options.given.has('log-level') ? options.logLevel : (level ?? options.logLevel),
    limits: limitsWith({ ...limits, ...options.givenLimits }),
  };
};
