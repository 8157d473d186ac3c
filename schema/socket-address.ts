import { bool, enumeration, int, object, opt, str, union } from './lang.js';

const INET = {
  host: str('name or address; empty for all'),
  port: str('port number'),
  numeric: opt(bool('the host is an address, no name')),
  to: opt(int('uint16', 'last port to try when listening')),
  ipv4: opt(bool('whether IPv4 may be used')),
  ipv6: opt(bool('whether IPv6 may be used')),
};
/** An address of TCP, as far as it is supported. */
export const InetSocketAddress = object('InetSocketAddress', INET);
/** The path of a socket. */
export const UnixSocketAddress = object('UnixSocketAddress', {
  path: str('path of the socket'),
  abstract: opt(bool('in the abstract name space, which is not supported')),
  tight: opt(bool('length of abstract names')),
});
/** A descriptor that is a socket. */
export const FdSocketAddress = object('String', {
  str: str('name that getfd gave to a descriptor'),
});

/** Where a socket is, as replies tell it. */
export const SocketAddress = union('SocketAddress', {
  base: {
    type: enumeration('SocketAddressKind', ['inet', 'unix', 'vsock', 'fd'], 'kind of address'),
  },
  discriminator: 'type',
  branches: {
    inet: object('InetSocketAddressFull', {
      ...INET,
      'keep-alive': opt(bool('whether the connection is probed')),
      mptcp: opt(bool('whether several paths are used')),
    }),
    unix: UnixSocketAddress,
    vsock: object('VsockSocketAddress', {
      cid: str('number of the host or machine'),
      port: str('port number'),
    }),
    fd: FdSocketAddress,
  },
});
