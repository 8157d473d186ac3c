import { refused } from '../../schema/error.js';
import type { HostFile, HostMapping, HostMemoryService } from '../core/host-memory.js';
import { MemoryRegion } from '../core/memory-region.js';
import { ROM_INDEX } from './bars.js';
import type { PciFunction } from './function.js';
import { AUTOMATIC_ROM_SIZE } from './properties.js';

export interface RomProperties {
  readonly romfile: string | undefined;
  readonly romsize: number;
  readonly rombar: number;
}

/** The smallest ROM BAR that the header can describe. */
const SMALLEST_ROM = 2048;
const LARGEST_ROM = 2n ** 31n;

/**
 * Gives the function a ROM BAR with a copy of `romfile`; nothing without one. The copy is given
 * back when the function is closed.
 *
 * @throws QmpError with the texts of reference/pci-and-memory-devices.md §3.4
 */
export const addOptionRom = (
  fn: PciFunction,
  host: HostMemoryService,
  { romfile, romsize, rombar }: RomProperties,
): void => {
  if (romfile === undefined || romfile === '') return;
  if (rombar === 0) {
    if (!fn.hotplugged) return;
    throw refused("Hot-plugged device without ROM bar can't have an option ROM");
  }
  const file = openRom(host, romfile);
  let rom: HostMapping;
  try {
    rom = copyRom(host, file, romfile, romsize);
  } finally {
    file.close();
  }
  const region = MemoryRegion.ram(`${fn.typeName}.rom`, { memory: rom, readonly: true });
  fn.addPart('rom', { close: () => rom.close() });
  fn.registerBar(ROM_INDEX, region, { type: 'memory' });
};

const openRom = (host: HostMemoryService, romfile: string): HostFile => {
  try {
    return host.open(romfile, { readonly: true });
  } catch (error) {
    throw refused(`failed to find romfile "${romfile}"`, error);
  }
};

const copyRom = (
  host: HostMemoryService,
  file: HostFile,
  romfile: string,
  romsize: number,
): HostMapping => {
  const length = file.length() ?? 0n;
  if (length === 0n) throw refused(`romfile "${romfile}" is empty`);
  if (length > LARGEST_ROM)
    throw refused(`romfile "${romfile}" too large (size cannot exceed 2 GiB)`);
  const size = romsize === AUTOMATIC_ROM_SIZE ? powerOfTwoCeil(Number(length)) : romsize;
  if (length > size)
    throw refused(
      `romfile "${romfile}" (${String(length)} bytes) is too large for ROM size ${String(size)}`,
    );
  const source = file.map(0n, length, { readonly: true });
  try {
    return copyInto(host, source, romfile, Math.max(size, SMALLEST_ROM));
  } finally {
    source.close();
  }
};

const powerOfTwoCeil = (value: number): number => 2 ** Math.ceil(Math.log2(value));

const CHUNK = 1 << 20;

const copyInto = (
  host: HostMemoryService,
  source: HostMapping,
  romfile: string,
  size: number,
): HostMapping => {
  const rom = host.anonymous({ size: BigInt(size), share: false, name: 'option ROM' });
  for (let at = 0n; at < source.size; at += BigInt(CHUNK)) {
    const left = source.size - at;
    const bytes = new Uint8Array(left < CHUNK ? Number(left) : CHUNK);
    if (!source.read(at, bytes)) {
      rom.close();
      throw refused(`failed to load romfile "${romfile}"`);
    }
    rom.write(at, bytes);
  }
  return rom;
};
