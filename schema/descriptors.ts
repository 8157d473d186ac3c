import { arr, bool, command, int, object, opt, str } from './lang.js';

/**
 * Descriptors passed over UNIX sockets.
 *
 * @see reference/qmp-protocol.md §8.2
 */

export const getfd = command('getfd', {
  doc: 'Keep the descriptor that came with this request under a name of this monitor.',
  since: '0.1',
  args: { fdname: str('name, not starting with a digit; one in use is replaced') },
});
export const closefd = command('closefd', {
  doc: 'Close a descriptor that getfd named.',
  since: '0.1',
  args: { fdname: str('name given to getfd') },
});

export const AddfdInfo = object('AddfdInfo', {
  'fdset-id': int('int', 'number of the set'),
  fd: int('int', 'number of the descriptor in this process'),
});
export const addFd = command('add-fd', {
  doc: 'Put the descriptor that came with this request into a set.',
  since: '0.1',
  args: {
    'fdset-id': opt(int('int', 'number of the set; default the lowest that is free')),
    opaque: opt(str('words for query-fdsets')),
  },
  returns: AddfdInfo,
});
export const removeFd = command('remove-fd', {
  doc: 'Close a descriptor of a set, or all of them.',
  since: '0.1',
  args: {
    'fdset-id': int('int', 'number of the set'),
    fd: opt(int('int', 'number of the descriptor; default all')),
  },
});

export const FdsetFdInfo = object('FdsetFdInfo', {
  fd: int('int', 'number of the descriptor in this process'),
  opaque: opt(str('words given to add-fd')),
});
export const FdsetInfo = object('FdsetInfo', {
  'fdset-id': int('int', 'number of the set'),
  fds: arr(FdsetFdInfo, 'its descriptors'),
});
export const queryFdsets = command('query-fdsets', {
  doc: 'List the sets of descriptors.',
  since: '0.1',
  returns: arr(FdsetInfo, 'highest number first'),
});

export const addClient = command('add_client', {
  doc: 'Hand a connected socket to a server of the machine; here only character devices are one.',
  since: '0.1',
  args: {
    protocol: str('id of a listening socket character device'),
    fdname: str('name given to getfd; it is used up'),
    skipauth: opt(bool('for protocols with authentication'), false),
    tls: opt(bool('for protocols with encryption'), false),
  },
});
