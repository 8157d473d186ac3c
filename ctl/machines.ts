import { isJsonObject, type JsonObject, type JsonValue } from '../schema/json.js';
import { reasonOf } from './channel.js';
import { ConnectionError, QmpClient } from './client.js';
import { parseJson } from './json.js';

export interface MachinesOptions {
  /** The HTTP side of the server; undefined when there is only a socket. */
  readonly http: URL | undefined;
  /** A machine to name when nothing answers over HTTP; undefined: that is an error then. */
  readonly socket: string | undefined;
  readonly token?: string | undefined;
  /** Told in words what a person who waits should know. */
  readonly onNote?: (text: string) => void;
}

type Tell = MachinesOptions['onNote'];

const TIMEOUT_MS = 10_000;

/** @throws ConnectionError when there is no connection @returns undefined for a page that is not there */
const getPage = async (url: URL, token: string | undefined): Promise<JsonValue | undefined> => {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(url, { headers, signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(
    (error: unknown) => {
      const { cause } = error as Error;
      const reason = reasonOf(cause instanceof Error ? cause : (error as Error));
      throw new ConnectionError(`cannot connect to ${url.href}: ${reason}`);
    },
  );
  const text = await response.text();
  if (response.status === 404) return undefined;
  if (response.status === 401) throw new Refusal(`${url.href}: a token is needed (--token-file)`);
  if (!response.ok) throw new Refusal(`${url.href}: ${String(response.status)} ${text.trim()}`);
  try {
    return parseJson(text);
  } catch (error) {
    throw new Refusal(`${url.href}: ${(error as Error).message}`, { cause: error });
  }
};

/** Somebody answered, but not with a list: there is no point in asking elsewhere. */
class Refusal extends ConnectionError {}

const listOverHttp = async (http: URL, token: string | undefined): Promise<JsonValue> => {
  const list = await getPage(new URL('/machines', http), token);
  if (list !== undefined) return list;
  const health = await getPage(new URL('/healthz', http), token);
  const machines = isJsonObject(health) ? health['machines'] : undefined;
  const names = isJsonObject(machines) ? machines['names'] : undefined;
  if (!Array.isArray(names)) throw new Refusal(`${http.href}: it lists no machines`);
  return { machines: names.map((name) => ({ name })) };
};

const nameOverQmp = async (address: string, onNote: Tell): Promise<JsonValue> => {
  const client = await QmpClient.connect({ address, ...(onNote && { onNote }) });
  try {
    const answer = await client.execute('query-name');
    const machine: JsonObject = isJsonObject(answer) ? answer : {};
    return { machines: [{ name: machine['name'] ?? null, socket: address }] };
  } finally {
    client.close();
  }
};

/** @throws ConnectionError naming both places when nobody is at the socket either */
const nameInstead = async (
  socket: string,
  refusal: ConnectionError,
  onNote: Tell,
): Promise<JsonValue> => {
  try {
    return await nameOverQmp(socket, onNote);
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    const { address, code } = error;
    const text = `${refusal.message}; ${error.message}`;
    throw new ConnectionError(text, { cause: error, address, code });
  }
};

/**
 * The machines of a server: `{"machines": [{"name", ...}]}`. A socket belongs to one machine, which is
 * then the list; its name is null when it has none.
 *
 * @throws ConnectionError
 */
export const listMachines = async (options: MachinesOptions): Promise<JsonValue> => {
  const { http, socket, token, onNote } = options;
  if (http !== undefined) {
    try {
      return await listOverHttp(http, token);
    } catch (error) {
      if (socket === undefined || error instanceof Refusal) throw error;
      if (!(error instanceof ConnectionError)) throw error;
      return nameInstead(socket, error, onNote);
    }
  }
  if (socket === undefined) throw new ConnectionError('there is no address to ask');
  return nameOverQmp(socket, onNote);
};
