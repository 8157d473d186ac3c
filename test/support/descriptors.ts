import { readdirSync, readlinkSync } from 'node:fs';

/**
 * How often this process has the file at `path` open; the number of a closed descriptor may be
 * somebody else's at once, so that it tells nothing.
 */
export const timesOpen = (path: string): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false; // closed since it was listed
    }
  }).length;
