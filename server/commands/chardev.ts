import { closeSync, fstatSync } from 'node:fs';
import type * as chardev from '../../schema/chardev.js';
import { QmpError, refused } from '../../schema/error.js';
import type { ArgsOf, Handlers } from '../../schema/lang.js';
import { openChardev } from '../chardev/open.js';
import { socketEndpoint } from '../chardev/socket-settings.js';
import type { CharEndpoint } from '../config.js';
import type { NamedDescriptors } from '../session/target.js';
import type { CommandContext } from './context.js';

type Backend = ArgsOf<typeof chardev.chardevAdd>['backend'];
type Socket = Extract<NonNullable<Backend['data']>, { addr: unknown }>;

/** What a socket may ask for and does not get. @throws Error naming it */
const checkPlain = (socket: Socket): void => {
  const { 'tls-creds': creds, 'tls-authz': authz } = socket;
  if (authz !== undefined && creds === undefined)
    throw new Error("'tls_authz' option requires 'tls_creds' option");
  if (socket.websocket === true && socket.server === false)
    throw new Error('Websocket client is not implemented');
  if (creds !== undefined) throw new Error(`No TLS credentials with id '${creds}'`);
  if (socket.logfile !== undefined) throw new Error("'logfile' is not supported");
  for (const name of ['telnet', 'tn3270', 'websocket'] as const)
    if (socket[name] === true) throw new Error(`'${name}' is not supported`);
};

type Address = Parameters<typeof socketEndpoint>[0]['address'];

/** Takes a descriptor of the monitor where one is named. @throws Error */
const addressOf = ({ addr }: Socket, descriptors: NamedDescriptors): Address => {
  const data = addr.data;
  if (data === undefined) throw new Error('no address');
  if ('path' in data) {
    if (data.abstract === true) throw new Error("'abstract' is not supported");
    return { type: 'unix', path: data.path };
  }
  if ('str' in data) {
    const fd = descriptors.take(data.str);
    if (fd === undefined) throw new Error(`File descriptor named '${data.str}' has not been found`);
    if (!fstatSync(fd).isSocket()) {
      closeSync(fd);
      throw new Error(`File descriptor '${data.str}' is not a socket`);
    }
    return { type: 'fd', fd };
  }
  const { host, port, to, ipv4, ipv6 } = data;
  return { type: 'inet', host, port, to, ipv4, ipv6 };
};

const MAX_RECONNECT_MS = 0x7fffffff;

/** @throws Error */
const endpointOf = (backend: Backend, descriptors: NamedDescriptors): CharEndpoint => {
  const { data } = backend;
  if (data === undefined || !('addr' in data)) {
    if (data?.logfile !== undefined) throw new Error("'logfile' is not supported");
    return backend.type === 'pty' ? { kind: 'pty' } : { kind: 'idle', backend: backend.type };
  }
  checkPlain(data);
  const reconnectMs = Number(data.reconnect ?? 0n) * 1000;
  if (!(reconnectMs >= 0 && reconnectMs <= MAX_RECONNECT_MS))
    throw new Error(
      `'reconnect' takes 0 to ${String(Math.floor(MAX_RECONNECT_MS / 1000))} seconds`,
    );
  const settings = { server: data.server ?? true, wait: data.wait, reconnectMs };
  // What does not go together is told before a descriptor is used up.
  if (data.addr.type === 'fd') socketEndpoint({ ...settings, address: { type: 'fd', fd: -1 } });
  return socketEndpoint({ ...settings, address: addressOf(data, descriptors) });
};

/** QEMU tells every failure but a taken id with the id in front. */
const failedToAdd = (id: string, error: unknown): QmpError => {
  if (error instanceof QmpError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return refused(`Failed to add chardev '${id}': ${reason}`, error);
};

export const chardevHandlers = {
  'query-chardev': (_, { machine }) => {
    const { chardevs } = machine.options;
    return chardevs.list().map((entry) => ({
      label: entry.id,
      filename: entry.backend.filename,
      'frontend-open': chardevs.isUsed(entry),
    }));
  },
  'query-chardev-backends': () => [{ name: 'socket' }, { name: 'pty' }, { name: 'null' }],
  'chardev-add': async ({ id, backend }, { machine, client }) => {
    const { chardevs } = machine.options;
    chardevs.checkFree(id);
    try {
      const endpoint = endpointOf(backend, client.descriptors);
      const { terminal } = await openChardev(chardevs, { id, endpoint });
      return terminal === undefined ? {} : { pty: terminal };
    } catch (error) {
      throw failedToAdd(id, error);
    }
  },
  'chardev-remove': ({ id }, { machine }) => machine.options.chardevs.remove(id),
  'chardev-send-break': ({ id }, { machine }) => {
    if (machine.options.chardevs.get(id) === undefined) throw refused(`Chardev '${id}' not found`);
  },
} satisfies Handlers<typeof chardev, CommandContext>;
