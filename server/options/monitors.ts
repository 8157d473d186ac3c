import type { ChardevConfig, MonitorConfig, MonitorEndpoint } from '../config.js';
import { CommandLineError, Parameters, parseOpts } from './keyval.js';

/** `-chardev`, `-mon`, `-qmp`: where monitors meet their clients. */

/** Backends that nothing here connects to. */
const IDLE_BACKENDS = [
  'null',
  'file',
  'pipe',
  'pty',
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
const isIdentifier = (text: string): boolean => /^[A-Za-z][A-Za-z0-9._-]*$/.test(text);

/** `socket`: `path` or `fd`; listening with `server=on`, else connecting. @throws CommandLineError */
const socketEndpoint = (origin: string, given: Parameters): MonitorEndpoint => {
  const path = given.take('path');
  const fd = given.take('fd');
  const server = given.takeBool('server') ?? false;
  const wait = given.takeBool('wait');
  const host = given.take('host') ?? given.take('port');
  given.ignore(['reconnect', 'reconnect-ms', 'logfile', 'logappend', 'mux']);
  for (const key of ['telnet', 'tn3270', 'websocket', 'abstract'])
    if (given.takeBool(key) === true)
      throw new CommandLineError(
        origin,
        `'${key}=on' is not supported: use a UNIX socket with a path`,
      );
  given.ignore(['tight']);
  given.end();
  if (host !== undefined)
    throw new CommandLineError(
      origin,
      'TCP is not supported: use a UNIX socket, or --listen for WebSocket',
    );
  if (wait !== undefined && !server)
    throw new CommandLineError(
      origin,
      "'wait' option is incompatible with socket in client connect mode",
    );
  if (fd !== undefined) return fdEndpoint(origin, fd, path, server);
  if (path === undefined || path === '')
    throw new CommandLineError(origin, "a socket needs 'path' or 'fd'");
  return server
    ? { kind: 'unix-listen', path, wait: wait ?? true }
    : { kind: 'unix-connect', path };
};

const fdEndpoint = (
  origin: string,
  fd: string,
  path: string | undefined,
  listening: boolean,
): MonitorEndpoint => {
  if (path !== undefined)
    throw new CommandLineError(origin, "give either 'path' or 'fd', not both");
  if (!/^[0-9]{1,9}$/.test(fd))
    throw new CommandLineError(origin, `'fd' expects the number of a descriptor, not '${fd}'`);
  return { kind: 'unix-fd', fd: Number(fd), listening };
};

/** @throws CommandLineError when the backend, the id or a parameter is bad */
export const readChardev = (origin: string, text: string): ChardevConfig => {
  const given = new Parameters(origin, parseOpts(text, 'backend'));
  const backend = given.take('backend');
  if (backend === undefined) throw new CommandLineError(origin, 'chardev: "backend" missing');
  const id = given.take('id');
  if (id === undefined) throw new CommandLineError(origin, 'chardev: no id specified');
  if (!isIdentifier(id)) throw new CommandLineError(origin, "Parameter 'id' expects an identifier");
  if (backend === 'socket') return { origin, id, endpoint: socketEndpoint(origin, given) };
  if (backend === 'stdio') {
    given.ignore(['signal', 'mux', 'logfile', 'logappend']);
    given.end();
    return { origin, id, endpoint: { kind: 'stdio' } };
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
}

/** Undefined for a human monitor, which is accepted and not opened. @throws CommandLineError */
export const readMon = (origin: string, text: string): MonOption | undefined => {
  const given = new Parameters(origin, parseOpts(text, 'chardev'));
  const chardev = given.take('chardev');
  const mode = given.take('mode') ?? 'readline';
  const pretty = given.takeBool('pretty');
  given.ignore(['id']);
  given.end();
  if (chardev === undefined) throw new CommandLineError(origin, "Parameter 'chardev' is missing");
  if (mode !== 'readline' && mode !== 'control')
    throw new CommandLineError(origin, `Parameter 'mode' does not accept value '${mode}'`);
  if (mode === 'readline') return undefined;
  return { origin, chardev, pretty: pretty ?? false };
};

/** @throws CommandLineError when the chardev is unknown, taken or cannot carry a monitor */
export const resolveMons = (
  mons: readonly MonOption[],
  chardevs: readonly ChardevConfig[],
): MonitorConfig[] => {
  const taken = new Set<string>();
  return mons.map(({ origin, chardev, pretty }) => {
    const found = chardevs.find(({ id }) => id === chardev);
    if (found === undefined) throw new CommandLineError(origin, `chardev "${chardev}" not found`);
    if (found.endpoint.kind === 'idle')
      throw new CommandLineError(
        origin,
        `chardev "${chardev}" is of type '${found.endpoint.backend}': a monitor needs 'socket' or 'stdio'`,
      );
    if (taken.has(chardev)) throw new CommandLineError(origin, `chardev "${chardev}" is in use`);
    taken.add(chardev);
    return { label: chardev, endpoint: found.endpoint, pretty };
  });
};

/** `-qmp` and `-qtest`: `unix:PATH[,server=on][,wait=off]` or `stdio`. @throws CommandLineError */
export const readEndpoint = (origin: string, text: string): MonitorEndpoint => {
  if (text === 'stdio') return { kind: 'stdio' };
  const colon = text.indexOf(':');
  const scheme = colon < 0 ? text : text.slice(0, colon);
  if (scheme === 'unix') {
    const given = new Parameters(origin, parseOpts(text.slice(colon + 1), 'path'));
    return socketEndpoint(origin, given);
  }
  if (['tcp', 'telnet', 'websocket', 'tn3270'].includes(scheme))
    throw new CommandLineError(
      origin,
      `'${scheme}' is not supported: use unix:PATH, stdio, or --listen for WebSocket`,
    );
  throw new CommandLineError(
    origin,
    `'${text}' is not a valid char driver: use unix:PATH or stdio`,
  );
};
