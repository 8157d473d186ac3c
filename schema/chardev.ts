import { arr, bool, command, enumeration, int, object, opt, str, union } from './lang.js';
import { FdSocketAddress, InetSocketAddress, UnixSocketAddress } from './socket-address.js';

/**
 * Character devices: sockets that carry monitors, or bytes to devices of the machine.
 *
 * @see reference/qmp-protocol.md §8.2
 */

export const ChardevInfo = object('ChardevInfo', {
  label: str('id of the character device'),
  filename: str('what it is connected to'),
  'frontend-open': bool('whether something in the machine uses it'),
});
export const queryChardev = command('query-chardev', {
  doc: 'List the character devices.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(ChardevInfo, 'the character devices'),
});

export const ChardevBackendInfo = object('ChardevBackendInfo', {
  name: str('type of the backend'),
});
export const queryChardevBackends = command('query-chardev-backends', {
  doc: 'List the backends that chardev-add takes.',
  since: '0.1',
  returns: arr(ChardevBackendInfo, 'the backends'),
});

const SocketAddressLegacy = union('SocketAddressLegacy', {
  base: { type: enumeration('SocketAddressType', ['inet', 'unix', 'fd'], 'kind of address') },
  discriminator: 'type',
  branches: {
    inet: object('InetSocketAddressWrapper', { data: InetSocketAddress }),
    unix: object('UnixSocketAddressWrapper', { data: UnixSocketAddress }),
    fd: object('FdSocketAddressWrapper', {
      data: FdSocketAddress,
    }),
  },
});
const COMMON = {
  logfile: opt(str('file for what is received, which is not supported')),
  logappend: opt(bool('keep what is in the log file')),
};
const ChardevSocket = object('ChardevSocket', {
  addr: SocketAddressLegacy,
  'tls-creds': opt(str('TLS, which is not supported')),
  'tls-authz': opt(str('TLS, which is not supported')),
  server: opt(bool('listen instead of connecting'), true),
  wait: opt(bool('of a server; checked, and nobody waits')),
  nodelay: opt(bool('always on')),
  telnet: opt(bool('not supported')),
  tn3270: opt(bool('not supported')),
  websocket: opt(bool('not supported')),
  reconnect: opt(int('int64', 'of a client: seconds before each new attempt; 0 for none')),
  ...COMMON,
});
const ChardevCommonWrapper = object('ChardevCommonWrapper', {
  data: object('ChardevCommon', COMMON),
});
const ChardevBackend = union('ChardevBackend', {
  base: {
    type: enumeration('ChardevBackendKind', ['socket', 'pty', 'null'], 'type of the backend'),
  },
  discriminator: 'type',
  branches: {
    socket: object('ChardevSocketWrapper', { data: ChardevSocket }),
    pty: ChardevCommonWrapper,
    null: ChardevCommonWrapper,
  },
});
export const chardevAdd = command('chardev-add', {
  doc: 'Add a character device.',
  since: '0.1',
  args: { id: str('id, which must be free'), backend: ChardevBackend },
  returns: object('ChardevReturn', { pty: opt(str('path of the pseudo terminal of a `pty`')) }),
});
export const chardevRemove = command('chardev-remove', {
  doc: 'Remove a character device that nobody uses.',
  since: '0.1',
  args: { id: str('id of the character device') },
});
export const chardevSendBreak = command('chardev-send-break', {
  doc: 'Send a break; sockets and null know none.',
  since: '0.1',
  args: { id: str('id of the character device') },
});
