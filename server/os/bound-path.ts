import { readFileSync, readlinkSync } from 'node:fs';

/**
 * Path that a UNIX socket is bound to, which Node does not tell for inherited descriptors; undefined
 * when it has none, or the system does not say.
 */
export const boundPath = (fd: number): string | undefined => {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${String(fd)}`))?.[1];
    if (inode === undefined) return undefined;
    // Num RefCount Protocol Flags Type St Inode Path
    const line = new RegExp(`^\\S+: (?:\\S+ +){5}${inode} (.+)$`, 'm');
    return line.exec(readFileSync('/proc/net/unix', 'latin1'))?.[1];
  } catch {
    return undefined;
  }
};
