import type { ChardevConfig, MonitorConfig, MonitorEndpoint } from '../config.js';
import { isLoopback } from '../transport/inet.js';
import { CommandLineError, Parameters, parseOpts } from './keyval.js';
import { readSocket } from './socket.js';

/** `-chardev`, `-mon`, `-qmp`: where monitors meet their clients. */

/** Backends that nothing here connects to. */
const IDLE_BACKENDS: readonly string[] = [
  'null',
  'file',
  'pipe',
  'vc',
  'ringbuf',
  'udp',
  'parallel',
  'serial',
  'console',
  'hub',
  'spicevmc',
  'spiceport',
  'dbus',
  'qemu-vdagent',
  'tty',
  'mux',
];
/** Backends that `-chardev` takes: those with a far side, and those without. */
export const CHARDEV_BACKENDS = { used: ['socket', 'stdio', 'pty'], idle: IDLE_BACKENDS } as const;

const isIdentifier = (text: string): boolean => /^[A-Za-z][A-Za-z0-9._-]*$/.test(text);

/**
 * @param others of the same machine
 * @throws CommandLineError when the backend, the id or a parameter is bad, or the id is taken
 */
export const readChardev = (
  origin: string,
  text: string,
  others: readonly ChardevConfig[],
): ChardevConfig => {
  const given = new Parameters(origin, parseOpts(text, 'backend'));
  const backend = given.take('backend');
  if (backend === undefined) throw new CommandLineError(origin, 'chardev: "backend" missing');
  const id = given.take('id');
  if (id === undefined) throw new CommandLineError(origin, 'chardev: no id specified');
  if (!isIdentifier(id)) throw new CommandLineError(origin, "Parameter 'id' expects an identifier");
  if (others.some((other) => other.id === id))
    throw new CommandLineError(origin, `Duplicate ID '${id}' for chardev`);
  if (backend === 'socket') return { origin, id, endpoint: readSocket(origin, given) };
  if (backend === 'stdio') {
    given.ignore(['signal', 'mux', 'logfile', 'logappend']);
    given.end();
    return { origin, id, endpoint: { kind: 'stdio' } };
  }
  if (backend === 'pty') {
    given.ignore(['logfile', 'logappend']);
    given.end();
    return { origin, id, endpoint: { kind: 'pty' } };
  }
  if (!IDLE_BACKENDS.includes(backend))
    throw new CommandLineError(origin, `'${backend}' is not a valid char driver name`);
  return { origin, id, endpoint: { kind: 'idle', backend } };
};

/** A monitor that waits for its chardev, which may come later on the command line. */
export interface MonOption {
  readonly origin: string;
  readonly chardev: string;
  readonly pretty: boolean;
  /** A human monitor is accepted and not opened. Default false. */
  readonly isHuman?: boolean;
}

/** `-mon`. @throws CommandLineError */
export const readMon = (origin: string, text: string): MonOption => {
  const given = new Parameters(origin, parseOpts(text, 'chardev'));
  const chardev = given.take('chardev');
  const mode = given.take('mode') ?? 'readline';
  const pretty = given.takeBool('pretty');
  given.ignore(['id']);
  given.end();
  if (chardev === undefined) throw new CommandLineError(origin, "Parameter 'chardev' is missing");
  if (mode !== 'readline' && mode !== 'control')
    throw new CommandLineError(origin, `Parameter 'mode' does not accept value '${mode}'`);
  return { origin, chardev, pretty: pretty ?? false, isHuman: mode === 'readline' };
};

/** `-qmp` and `-qmp-pretty`: a socket of its own, or `chardev:ID`. @throws CommandLineError */
export const readQmp = (
  origin: string,
  text: string,
  pretty: boolean,
): MonOption | MonitorConfig => {
  if (text.startsWith('chardev:'))
    return { origin, chardev: text.slice('chardev:'.length), pretty };
  const endpoint = readEndpoint(origin, text);
  checkMonitor(origin, endpoint);
  return { origin, endpoint, pretty };
};

/**
 * Gives monitors their chardevs; the others are left to devices. As QEMU, a chardev that cannot be
 * opened is blamed itself, and not its monitor.
 *
 * @returns monitors on chardevs before those with sockets of their own
 * @throws CommandLineError when a chardev is unknown, taken or cannot carry a monitor
 */
export const shareChardevs = (
  wanted: readonly (MonOption | MonitorConfig)[],
  chardevs: readonly ChardevConfig[],
): { monitors: MonitorConfig[]; chardevs: ChardevConfig[] } => {
  const mons = wanted.flatMap((monitor) => ('chardev' in monitor ? [monitor] : []));
  const own = wanted.flatMap((monitor) => ('chardev' in monitor ? [] : [monitor]));
  const monitors = [...resolveMons(mons, chardevs), ...own];
  const isMonitor = ({ id }: ChardevConfig): boolean => monitors.some(({ label }) => label === id);
  return { monitors, chardevs: chardevs.filter((chardev) => !isMonitor(chardev)) };
};

const resolveMons = (
  mons: readonly MonOption[],
  chardevs: readonly ChardevConfig[],
): MonitorConfig[] => {
  const taken = new Set<string>();
  return mons.flatMap(({ origin, chardev, pretty, isHuman = false }) => {
    const found = chardevs.find(({ id }) => id === chardev);
    if (found === undefined) throw new CommandLineError(origin, `chardev "${chardev}" not found`);
    if (isHuman) return [];
    const { endpoint } = found;
    if (endpoint.kind === 'idle' || endpoint.kind === 'pty')
      throw new CommandLineError(
        origin,
        `chardev "${chardev}" is of type '${endpoint.kind === 'idle' ? endpoint.backend : 'pty'}': a monitor needs 'socket' or 'stdio'`,
      );
    if (taken.has(chardev)) throw new CommandLineError(origin, `chardev "${chardev}" is in use`);
    taken.add(chardev);
    checkMonitor(origin, endpoint);
    return { origin: found.origin, label: chardev, endpoint, pretty };
  });
};

/** A monitor must not be open to other hosts: QMP knows no token. @throws CommandLineError */
export const checkMonitor = (origin: string, endpoint: MonitorEndpoint): void => {
  if (!('host' in endpoint) || isLoopback(endpoint.host)) return;
  throw new CommandLineError(
    origin,
    `a socket that controls the machine may use loopback addresses only, not '${endpoint.host}': use --listen with --token-file`,
  );
};

/** `HOST:PORT`, `:PORT` or `[HOST]:PORT`, and options. @throws CommandLineError */
const tcpParameters = (origin: string, text: string): Parameters => {
  const [[, where] = ['', ''], ...rest] = parseOpts(text, 'addr');
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([^:]+)$/.exec(where);
  if (match === null) throw new CommandLineError(origin, `'${where}' is not HOST:PORT`);
  const host = match[1] ?? match[2] ?? '';
  return new Parameters(origin, [['host', host], ['port', match[3] ?? ''], ...rest]);
};

/** `-qmp` and `-qtest`: `unix:PATH`, `tcp:HOST:PORT`, each `[,server=on][,wait=off]`, or `stdio`. @throws CommandLineError */
export const readEndpoint = (origin: string, text: string): MonitorEndpoint => {
  if (text === 'stdio') return { kind: 'stdio' };
  const colon = text.indexOf(':');
  const scheme = colon < 0 ? text : text.slice(0, colon);
  if (scheme === 'unix') {
    const given = new Parameters(origin, parseOpts(text.slice(colon + 1), 'path'));
    return readSocket(origin, given);
  }
  if (scheme === 'tcp') return readSocket(origin, tcpParameters(origin, text.slice(colon + 1)));
  if (['telnet', 'websocket', 'tn3270'].includes(scheme))
    throw new CommandLineError(
      origin,
      `'${scheme}' is not supported: use unix:PATH, tcp:HOST:PORT, stdio, or --listen for WebSocket`,
    );
  throw new CommandLineError(
    origin,
    `'${text}' is not a valid char driver: use unix:PATH, tcp:HOST:PORT or stdio`,
  );
};
