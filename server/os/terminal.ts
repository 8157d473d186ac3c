import { closeSync, constants, openSync } from 'node:fs';
import { check } from './libc.js';
import type { Libc } from './libc.js';

/** A pseudo terminal that we made; both descriptors are the caller's. */
export interface Terminal {
  /** Our end. */
  readonly fd: number;
  /** The other end, open so that reading from ours does not fail while nobody else has it. */
  readonly other: number;
  /** Path by which others open their end. */
  readonly path: string;
}

export interface TerminalCalls {
  /** Makes a pseudo terminal that passes on bytes as they are. @throws HostError */
  openTerminal(): Terminal;
}

const NAME_BYTES = 64;
/** `struct termios` takes 60 bytes at most. */
const SETTINGS_BYTES = 64;

/** Bound on first use: few need it, and binding takes its time. */
export const bindTerminal = (libc: Libc): TerminalCalls => {
  let open: TerminalCalls['openTerminal'] | undefined;
  return { openTerminal: () => (open ??= bindOpen(libc))() };
};

const bindOpen = (libc: Libc): TerminalCalls['openTerminal'] => {
  const unlock = libc.call('unlockpt', ['int']);
  const nameOf = libc.call('ptsname_r', ['int', 'void *', 'size_t']);
  const getSettings = libc.call('tcgetattr', ['int', 'void *']);
  const makeRaw = libc.procedure('cfmakeraw', ['void *']);
  const setSettings = libc.call('tcsetattr', ['int', 'int', 'void *']);
  const block = libc.block(NAME_BYTES + SETTINGS_BYTES);
  const settings = block.address + BigInt(NAME_BYTES);

  const openOther = (fd: number): Omit<Terminal, 'fd'> => {
    check(unlock(fd));
    check(-nameOf(fd, block.address, NAME_BYTES));
    const path = block.bytes.toString('latin1', 0, block.bytes.indexOf(0));
    const other = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
    try {
      check(getSettings(other, settings));
      makeRaw(settings);
      check(setSettings(other, 0, settings));
      return { other, path };
    } catch (error) {
      closeSync(other);
      throw error;
    }
  };
  return () => {
    const fd = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY);
    try {
      return { fd, ...openOther(fd) };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  };
};
