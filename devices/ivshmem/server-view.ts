import type { Device } from '../core/device.js';

/** What is known of one peer. */
export interface PeerInfo {
  readonly id: number;
  /** How many of its vectors can be rung. */
  readonly vectors: number;
}

/** How a device sees its ivshmem server. */
export interface ServerView {
  readonly id: number;
  /** False once the server is gone. */
  readonly connected: boolean;
  /** Everybody the server has announced, this device included; by id. */
  readonly peers: readonly PeerInfo[];
}

/** A device that is, or may be, a client of an ivshmem server. */
export interface IvshmemPeer extends Device {
  /** Undefined without a server. */
  serverView(): ServerView | undefined;
}

export const asIvshmemPeer = (device: Device): IvshmemPeer | undefined =>
  'serverView' in device ? (device as IvshmemPeer) : undefined;
