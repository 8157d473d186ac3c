import { arr, bool, command, int, object, opt, str } from './lang.js';

/** Devices on an ivshmem server, as they see it. All of it is ours (feature `qmemd`). */

export const IvshmemPeerInfo = object('IvshmemPeerInfo', {
  id: int('uint16', 'id that the server gave'),
  vectors: int('uint32', 'how many of its vectors can be rung'),
});
export const IvshmemInfo = object('IvshmemInfo', {
  device: opt(str('id of the device, if it has one')),
  path: str('object path of the device'),
  id: int('uint16', 'own id among the peers'),
  connected: bool('false once the server is gone; memory and doorbells then go on working'),
  peers: arr(IvshmemPeerInfo, 'everybody the server has announced, this device included, by id'),
});
export const queryIvshmem = command('query-ivshmem', {
  since: '0.1',
  features: ['qmemd'],
  doc: 'List the devices that are clients of an ivshmem server, with the peers that each knows.',
  spec: 'reference/pci-and-memory-devices.md §9.5',
  returns: arr(IvshmemInfo, 'the devices, oldest first'),
});
