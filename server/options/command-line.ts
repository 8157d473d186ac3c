import type {
  ChardevConfig,
  DaemonConfig,
  MachineConfig,
  MonitorConfig,
  ProcessOrigins,
  QtestConfig,
  Written,
} from '../config.js';
import { limitsWith, parseLimit, type LimitName, type Limits } from '../limits.js';
import { LOG_LEVELS, type LogLevel } from '../log.js';
import type { GlobalSetting } from '../machine/machine.js';
import { checkStdio } from './endpoints.js';
import { helpRequest, type HelpRequest } from './help-request.js';
import { CommandLineError, Parameters, parseOpts } from './keyval.js';
import { checkSlots, MachineOption, readMemory, type MemoryChoice } from './machine.js';
import {
  checkMonitor,
  readChardev,
  readEndpoint,
  readMon,
  readQmp,
  shareChardevs,
  type MonOption,
} from './monitors.js';
import { readNuma, type NumaNodeSetting } from './numa.js';
import { readDevice, readGlobal, readObject } from './objects.js';
import { UNUSED_OPTIONS } from './unused.js';

/**
 * The command line, as QEMU reads its own (design §3): words in, plain data out. Nothing is opened,
 * created or checked against the host here.
 */

/** What was asked for: to run, or to print something and exit. */
export type Invocation =
  | { readonly kind: 'run'; readonly options: Options }
  | { readonly kind: 'option-help'; readonly request: HelpRequest }
  | { readonly kind: 'help' | 'version' | 'print-reference' | 'print-config-schema' };

export interface Options extends DaemonConfig {
  /** `--demo`: set up the demonstration machine. */
  readonly demo: boolean;
  /** `--config`: the file that describes the machines instead of these options. */
  readonly configFile: string | undefined;
  /** Names of all options that came, and the limits among them. */
  readonly given: ReadonlySet<string>;
  readonly givenLimits: Partial<Limits>;
  readonly daemonize: boolean;
  /** `-run-with exit-with-parent=on`. */
  readonly exitWithParent: boolean;
  /** `-D`: file for the log instead of stderr. */
  readonly logFile: string | undefined;
  /** `--preconfig`: machine creation waits for `x-exit-preconfig`. */
  readonly preconfig: boolean;
  /** `-incoming`: where a migration comes from. */
  readonly incoming: string | undefined;
}

/** What the options so far add up to. */
class Draft {
  readonly machine = new MachineOption();
  readonly objects: Written[] = [];
  readonly devices: Written[] = [];
  readonly deviceIds = new Set<string>();
  readonly globals: GlobalSetting[] = [];
  readonly chardevs: ChardevConfig[] = [];
  readonly monitors: (MonOption | MonitorConfig)[] = [];
  readonly limits: Partial<Record<LimitName, number>> = {};
  readonly accelerators: string[] = [];
  memory: MemoryChoice = { origin: '-m', ramSize: 128n << 20n, slots: 0, maxSize: 128n << 20n };
  readonly numa: NumaNodeSetting[] = [];
  guestName: string | undefined;
  uuid: string | undefined;
  qtest: Omit<QtestConfig, 'log'> | undefined;
  qtestLog: QtestConfig['log'];
  listen: DaemonConfig['listen'];
  tokenFile: string | undefined;
  logLevel: LogLevel = 'warn';
  logFile: string | undefined;
  pidfile: string | undefined;
  incoming: string | undefined;
  configFile: string | undefined;
  origins: ProcessOrigins = {
    listen: '--listen',
    tokenFile: '--token-file',
    pidfile: '-pidfile',
  };
  readonly flags = new Set<string>();
  /** Names of all options that came. */
  readonly given = new Set<string>();
}

type Apply = (draft: Draft, origin: string, text: string) => void;

/** Options with an argument. */
const WITH_ARGUMENT: Readonly<Record<string, Apply>> = {
  machine: (draft, origin, text) => draft.machine.add(origin, text),
  M: (draft, origin, text) => draft.machine.add(origin, text),
  m: (draft, origin, text) => {
    draft.memory = readMemory(origin, text);
  },
  numa: (draft, origin, text) => {
    const node = readNuma(origin, text);
    if (node !== undefined) draft.numa.push(node);
  },
  name: (draft, origin, text) => {
    const given = new Parameters(origin, parseOpts(text, 'guest'));
    draft.guestName = given.take('guest') ?? draft.guestName;
    given.takeBool('debug-threads');
    given.ignore(['process']);
    given.end();
  },
  uuid: (draft, origin, text) => {
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text))
      throw new CommandLineError(origin, 'failed to parse UUID string: wrong format');
    draft.uuid = text.toLowerCase();
  },
  object: (draft, origin, text) => draft.objects.push(readObject(origin, text)),
  device: (draft, origin, text) => draft.devices.push(readDevice(origin, text, draft.deviceIds)),
  global: (draft, origin, text) => draft.globals.push(readGlobal(origin, text)),
  chardev: (draft, origin, text) => {
    draft.chardevs.push(readChardev(origin, text, draft.chardevs));
  },
  mon: (draft, origin, text) => {
    draft.monitors.push(readMon(origin, text));
  },
  qmp: (draft, origin, text) => draft.monitors.push(readQmp(origin, text, false)),
  'qmp-pretty': (draft, origin, text) => draft.monitors.push(readQmp(origin, text, true)),
  qtest: (draft, origin, text) => {
    const endpoint = readEndpoint(origin, text);
    checkMonitor(origin, endpoint);
    draft.qtest = { origin, endpoint };
  },
  'qtest-log': (draft, origin, path) => {
    draft.qtestLog = { origin, path };
  },
  accel: (draft, origin, text) => {
    const accel = new Map(parseOpts(text, 'accel')).get('accel');
    if (accel === undefined) throw new CommandLineError(origin, "Parameter 'accel' is missing");
    draft.accelerators.push(accel);
  },
  incoming: (draft, _origin, text) => {
    draft.incoming = text;
  },
  pidfile: (draft, origin, text) => {
    draft.pidfile = text;
    draft.origins = { ...draft.origins, pidfile: origin };
  },
  'run-with': (draft, origin, text) => {
    const given = new Parameters(origin, parseOpts(text));
    if (given.takeBool('exit-with-parent') === true) draft.flags.add('exit-with-parent');
    given.end();
  },
  D: (draft, _origin, text) => {
    draft.logFile = text;
  },
  config: (draft, _origin, text) => {
    draft.configFile = text;
  },
  listen: (draft, origin, text) => {
    draft.listen = readListen(origin, text);
    draft.origins = { ...draft.origins, listen: origin };
  },
  'token-file': (draft, origin, text) => {
    draft.tokenFile = text;
    draft.origins = { ...draft.origins, tokenFile: origin };
  },
  'log-level': (draft, origin, text) => {
    const level = LOG_LEVELS.find((known) => known === text);
    if (level === undefined)
      throw new CommandLineError(origin, `'${text}' is none of ${LOG_LEVELS.join(', ')}`);
    draft.logLevel = level;
  },
  limit: (draft, origin, text) => {
    try {
      const { name, value } = parseLimit(text);
      draft.limits[name] = value;
    } catch (error) {
      throw new CommandLineError(origin, (error as Error).message);
    }
  },
};

/** Switches that are only remembered. */
const FLAGS: readonly string[] = ['S', 'preconfig', 'daemonize', 'nodefaults', 'demo'];
/** Options that end the reading of the command line. */
const PRINTING: Readonly<Record<string, Exclude<Invocation['kind'], 'run' | 'option-help'>>> = {
  h: 'help',
  help: 'help',
  '?': 'help',
  version: 'version',
  'print-reference': 'print-reference',
  'print-config-schema': 'print-config-schema',
};

/** Names of all options that do something; `-h` tells of each. */
export const OPTIONS_WITH_EFFECT: readonly string[] = [
  ...[...Object.keys(WITH_ARGUMENT), ...FLAGS],
  ...Object.keys(PRINTING),
];

/** `HOST:PORT` or `[HOST]:PORT`. @throws CommandLineError */
const readListen = (origin: string, text: string): { host: string; port: number } => {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[3] ?? NaN);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined || !(port <= 65_535))
    throw new CommandLineError(origin, `'${text}' is not HOST:PORT with a port from 0 to 65535`);
  return { host, port };
};

/** Own keys only: an option named `constructor` is as unknown as any other. */
const lookUp = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

/**
 * Reads the words behind the program's name. One and two dashes mean the same, as in QEMU.
 *
 * @param source in a configuration file nobody asks for help
 * @throws CommandLineError whose message lacks only the program's name: `-foo: invalid option`
 */
export const parseCommandLine = (
  words: readonly string[],
  source: 'words' | 'file' = 'words',
): Invocation => {
  const draft = new Draft();
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (!word.startsWith('-') || word === '-')
      throw new CommandLineError(word, 'an option was expected (there is no block layer)');
    const name = word.slice(word.startsWith('--') ? 2 : 1);
    const printing = lookUp(PRINTING, name);
    if (printing !== undefined) return { kind: printing };
    draft.given.add(name);
    if (FLAGS.includes(name)) {
      draft.flags.add(name);
      continue;
    }
    const apply = lookUp(WITH_ARGUMENT, name);
    const unused = lookUp(UNUSED_OPTIONS, name);
    if (apply === undefined && unused === undefined)
      throw new CommandLineError(word, 'invalid option');
    if (unused === false) continue;
    const text = words[++at];
    if (text === undefined) throw new CommandLineError(word, 'requires an argument');
    const origin = `${word} ${text}`;
    const request = source === 'words' ? helpRequest(origin, name, text) : undefined;
    if (request !== undefined) return { kind: 'option-help', request };
    apply?.(draft, origin, text);
  }
  return { kind: 'run', options: finish(draft) };
};

/** Options that go together with `--config`: they are about the process, not about a machine. */
const BESIDE_CONFIG: readonly string[] = [
  ...['config', 'listen', 'token-file', 'log-level', 'limit', 'pidfile', 'D', 'daemonize'],
  'run-with',
];

const checkConfig = ({ given }: Draft): void => {
  if (!given.has('config')) return;
  for (const name of given)
    if (!BESIDE_CONFIG.includes(name))
      throw new CommandLineError(
        `-${name}`,
        'with --config the machines are described in the file',
      );
};

const finish = (draft: Draft): Options => {
  checkConfig(draft);
  const { kind, guestPolicy, ramBackend, nvdimm, cxl, accelerators } = draft.machine.read();
  const { flags, guestName, uuid, globals, objects, devices, qtest } = draft;
  const { ramSize, slots, maxSize } = draft.memory;
  if (kind !== 'none') checkSlots(draft.memory);
  const machine: MachineConfig = {
    name: guestName ?? 'default',
    guestName,
    uuid,
    kind,
    ramSize: kind === 'none' && !draft.given.has('m') ? 0n : ramSize,
    memorySlots: { slots, maxSize, nvdimm },
    cxl,
    ramBackend,
    numa: draft.numa,
    defaults: !flags.has('nodefaults'),
    guestPolicy,
    paused: flags.has('S'),
    preconfig: flags.has('preconfig'),
    incoming: draft.incoming,
    globals,
    objects,
    devices,
    ...shareChardevs(draft.monitors, draft.chardevs),
    qtest: qtest && { ...qtest, log: draft.qtestLog },
    clock: [...accelerators, ...draft.accelerators].includes('qtest') ? 'client' : 'host',
  };
  checkStdio([machine]);
  return {
    machines: [machine],
    listen: draft.listen,
    tokenFile: draft.tokenFile,
    limits: limitsWith(draft.limits),
    logLevel: draft.logLevel,
    logFile: draft.logFile,
    pidfile: draft.pidfile,
    origins: draft.origins,
    demo: flags.has('demo'),
    configFile: draft.configFile,
    given: draft.given,
    givenLimits: draft.limits,
    daemonize: flags.has('daemonize'),
    exitWithParent: flags.has('exit-with-parent'),
    preconfig: flags.has('preconfig'),
    incoming: draft.incoming,
  };
};
