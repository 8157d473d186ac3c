import { isIdentifier } from '../machine/identifier.js';
import { helpInKeyval, helpInOpts, parseOpts } from './keyval.js';
import { FREE_TEXT, UNUSED_OPTIONS } from './unused.js';

/** `help` or `?` as the value of an option, or among its parameters. */
export interface HelpRequest {
  /** As typed, for errors. */
  readonly origin: string;
  readonly option: 'machine' | 'device' | 'object' | 'chardev' | 'accel' | 'unused';
  /** Type that is asked about; '': all of them. */
  readonly type: string;
}

/** As QEMU, which finds fault with the id first. */
const helpInDevice = (text: string): string | undefined => {
  const id = parseOpts(text, 'driver').findLast(([key]) => key === 'id')?.[1];
  return id === undefined || isIdentifier(id) ? helpInOpts(text, 'driver') : undefined;
};

interface Reader {
  readonly option: Exclude<HelpRequest['option'], 'unused'>;
  /** The type that is asked about; undefined when nobody asks. */
  readonly read: (text: string) => string | undefined;
}
const machine: Reader = { option: 'machine', read: (text) => helpInKeyval(text, 'type') };

const READERS: Readonly<Record<string, Reader>> = {
  M: machine,
  machine,
  device: { option: 'device', read: helpInDevice },
  object: { option: 'object', read: (text) => helpInKeyval(text, 'qom-type') },
  chardev: { option: 'chardev', read: (text) => helpInOpts(text, 'backend') },
  accel: { option: 'accel', read: (text) => helpInOpts(text, 'accel') },
};

/**
 * Whether an option asks for help, and about what. Options in JSON never do.
 *
 * @param origin the option as typed, with its argument
 * @param name without dashes
 */
export const helpRequest = (
  origin: string,
  name: string,
  text: string,
): HelpRequest | undefined => {
  if (text.startsWith('{')) return undefined;
  const reader = Object.hasOwn(READERS, name) ? READERS[name] : undefined;
  if (reader !== undefined) {
    const type = reader.read(text);
    return type === undefined ? undefined : { origin, option: reader.option, type };
  }
  const isUnused = Object.hasOwn(UNUSED_OPTIONS, name) && !FREE_TEXT.includes(name);
  const isAsked = isUnused && helpInKeyval(text, '') !== undefined;
  return isAsked ? { origin, option: 'unused', type: '' } : undefined;
};
