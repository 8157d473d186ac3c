/** Results of region accesses, as Linux numbers them. */
export const ERRNO = {
  EIO: 5,
  E2BIG: 7,
  EBUSY: 16,
  ENODEV: 19,
  EINVAL: 22,
  EFBIG: 27,
} as const;
export type Errno = keyof typeof ERRNO;

/** An access or a request that the device state refuses; nothing has changed unless it says so. */
export class StateError extends Error {
  readonly errno: Errno;
  /** @param reason names the thing, the value and the rule */
  constructor(errno: Errno, reason: string) {
    super(reason);
    this.name = 'StateError';
    this.errno = errno;
  }
}

/** @throws StateError EINVAL when a stream of `size` bytes has nothing at `pos` */
export const checkPosition = (pos: bigint, size: number): void => {
  if (pos >= BigInt(size))
    throw new StateError(
      'EINVAL',
      `position ${String(pos)} is beyond ${String(size)} bytes of data`,
    );
};
export const tooBig = (what: string, size: bigint, most: bigint): StateError =>
  new StateError('EFBIG', `${what} of ${String(size)} bytes is more than ${String(most)}`);
