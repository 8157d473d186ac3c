import { isIP } from 'node:net';

/** Family of a numeric address, in QEMU's words. */
export const familyOf = (host: string): 'ipv4' | 'ipv6' | undefined =>
  (({ 4: 'ipv4', 6: 'ipv6' }) as const)[isIP(host)];

/** Whether only programs of this host can reach the address. */
export const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));

/** `HOST:PORT`, or for IPv6 `[HOST]:PORT`. */
export const hostPort = ({ host, port }: { host: string; port: string | number }): string =>
  `${host.includes(':') ? `[${host}]` : host}:${String(port)}`;
