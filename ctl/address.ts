import { UsageError } from './arguments.js';
import { isWebSocketUrl } from './channel.js';
import { defaultAddress } from './paths.js';

type Environment = Readonly<Record<string, string | undefined>>;

/** Where `npm start` and `--config` serve HTTP unless told otherwise. */
const DEFAULT_WEBSOCKET = 'ws://127.0.0.1:7710';

/** @throws UsageError */
const parseUrl = (text: string): URL => {
  try {
    return new URL(text);
  } catch (error) {
    throw new UsageError(`'${text}' is not a URL`, { cause: error });
  }
};

/** A server that carries many machines: QMEMD_SOCKET where it is one, else the default. */
const defaultUrl = (env: Environment): string => {
  const given = env['QMEMD_SOCKET'] ?? '';
  return isWebSocketUrl(given) ? given : DEFAULT_WEBSOCKET;
};

/**
 * Where to connect: the server's only machine, or the one that is named.
 *
 * @param given what -s says
 * @throws UsageError
 */
export const qmpAddress = (
  given: string | undefined,
  machine: string | undefined,
  env: Environment,
): string => {
  const address = given ?? (machine === undefined ? defaultAddress(env) : defaultUrl(env));
  if (!isWebSocketUrl(address)) {
    if (machine === undefined) return address;
    throw new UsageError('-m needs -s ws://HOST:PORT; a socket belongs to one machine');
  }
  const url = parseUrl(address);
  if (machine !== undefined) url.pathname = `/machines/${encodeURIComponent(machine)}/qmp`;
  else if (url.pathname === '/') url.pathname = '/qmp';
  return url.href;
};

/**
 * The server's HTTP side, without a path; undefined for a socket, which has none.
 *
 * @throws UsageError
 */
export const httpAddress = (given: string | undefined, env: Environment): URL | undefined => {
  const address = given ?? defaultUrl(env);
  if (!isWebSocketUrl(address) && !/^https?:\/\//.test(address)) return undefined;
  const url = parseUrl(address.replace(/^ws/, 'http'));
  url.pathname = '/';
  return url;
};
