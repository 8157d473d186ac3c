import { socketEndpoint, type SocketSettings } from '../chardev/socket-settings.js';
import type { SocketEndpoint } from '../config.js';
import { CommandLineError, type Parameters } from './keyval.js';

/** Seconds and milliseconds that a timer takes. */
const MAX_RECONNECT_MS = 0x7fffffff;

const readNumber = (
  origin: string,
  given: Parameters,
  key: string,
  max: number,
): number | undefined => {
  const text = given.take(key);
  if (text === undefined) return undefined;
  const value = /^[0-9]{1,10}$/.test(text) ? Number(text) : NaN;
  if (value <= max) return value;
  throw new CommandLineError(
    origin,
    `Parameter '${key}' expects a number from 0 to ${String(max)}`,
  );
};

const readReconnect = (origin: string, given: Parameters): number | undefined => {
  const seconds = readNumber(origin, given, 'reconnect', Math.floor(MAX_RECONNECT_MS / 1000));
  const ms = readNumber(origin, given, 'reconnect-ms', MAX_RECONNECT_MS);
  if (seconds !== undefined && ms !== undefined)
    throw new CommandLineError(origin, "'reconnect' and 'reconnect-ms' are mutually exclusive");
  return ms ?? (seconds === undefined ? undefined : seconds * 1000);
};

const readAddress = (origin: string, given: Parameters): SocketSettings['address'] => {
  const [path, fd, host, port] = ['path', 'fd', 'host', 'port'].map((key) => given.take(key));
  const to = readNumber(origin, given, 'to', 65_535);
  const ipv4 = given.takeBool('ipv4');
  const ipv6 = given.takeBool('ipv6');
  const kinds = [path, fd, host ?? port].filter((value) => value !== undefined);
  if (kinds.length > 1)
    throw new CommandLineError(origin, "give one of 'path', 'fd' and 'host' with 'port'");
  if (path !== undefined && path !== '') return { type: 'unix', path };
  if (fd !== undefined) {
    if (/^[0-9]{1,9}$/.test(fd)) return { type: 'fd', fd: Number(fd) };
    throw new CommandLineError(origin, `'fd' expects the number of a descriptor, not '${fd}'`);
  }
  if (host !== undefined && port === undefined)
    throw new CommandLineError(origin, 'chardev: socket: no port given');
  if (port === undefined)
    throw new CommandLineError(origin, "a socket needs 'path', 'fd', or 'host' and 'port'");
  return { type: 'inet', host: host ?? '', port, to, ipv4, ipv6 };
};

/** Options of a socket: listening with `server=on`, else connecting. @throws CommandLineError */
export const readSocket = (origin: string, given: Parameters): SocketEndpoint => {
  const address = readAddress(origin, given);
  const server = given.takeBool('server') ?? false;
  const wait = given.takeBool('wait');
  const reconnectMs = readReconnect(origin, given);
  given.ignore(['logfile', 'logappend', 'mux', 'nodelay', 'delay']);
  for (const key of ['telnet', 'tn3270', 'websocket', 'abstract'])
    if (given.takeBool(key) === true)
      throw new CommandLineError(origin, `'${key}=on' is not supported: use a plain socket`);
  given.ignore(['tight']);
  given.end();
  try {
    return socketEndpoint({ address, server, wait, reconnectMs });
  } catch (error) {
    throw new CommandLineError(origin, error instanceof Error ? error.message : String(error));
  }
};
