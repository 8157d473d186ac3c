import { refused } from '../../schema/error.js';
import { isLoopback } from '../transport/inet.js';

/** Where a migration goes to or comes from. */
export type Address =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: string }
  | { readonly kind: 'file'; readonly path: string }
  /** `name` is one of `getfd`, or the number of an inherited descriptor. */
  | { readonly kind: 'fd'; readonly name: string };

/**
 * Reads the `uri` of migrate, migrate-incoming and -incoming.
 *
 * @throws QmpError for a host that is not this one, or an address without its parts
 * @returns undefined for a protocol that is not known
 */
export const parseAddress = (uri: string): Address | undefined => {
  const colon = uri.indexOf(':');
  const protocol = uri.slice(0, Math.max(colon, 0));
  const rest = uri.slice(colon + 1);
  if (protocol === 'unix') return unixAddress(rest);
  if (protocol === 'file') return fileAddress(rest);
  if (protocol === 'fd') return { kind: 'fd', name: rest };
  return protocol === 'tcp' ? tcpAddress(rest) : undefined;
};

const unixAddress = (path: string): Address => {
  // As QEMU.
  if (path === '') throw refused('invalid Unix socket address');
  return { kind: 'unix', path };
};

const fileAddress = (path: string): Address => {
  if (path === '') throw refused("Parameter 'uri' expects a path behind 'file:'");
  return { kind: 'file', path };
};

const tcpAddress = (text: string): Address => {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([^:,]*)$/.exec(text);
  // As QEMU.
  if (match === null) throw refused(`error parsing address '${text}'`);
  const host = match[1] ?? match[2] ?? '';
  if (!isLoopback(host))
    throw refused(
      `Parameter 'uri': host '${host}' is not a loopback address; a machine migrates within its host only`,
    );
  return { kind: 'tcp', host, port: match[3] ?? '' };
};
