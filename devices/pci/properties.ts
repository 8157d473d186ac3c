import { refused } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import { bool, int32, ofPlace, size, str, uint32 } from '../core/property.js';
import type { Property, PropertyValues } from '../core/property.js';

/** Value of `addr` that means the lowest free slot. */
export const AUTOMATIC_ADDRESS = -1;
const LAST_DEVFN = 255n;

/** Reads `slot[.function]` in hexadecimal; undefined when it is none. */
export const parseSlotAddress = (text: string): number | undefined => {
  const match = /^\s*\+?(?:0x)?([0-9a-f]+)(?:\.\s*\+?(?:0x)?([0-9a-f]+))?$/i.exec(text);
  if (match === null) return undefined;
  const slot = Number.parseInt(match[1] ?? '', 16);
  const fn = Number.parseInt(match[2] ?? '0', 16);
  return slot <= 0x1f && fn <= 7 ? slot * 8 + fn : undefined;
};

/**
 * The address of a function: a text, or a devfn as an integer.
 *
 * @see reference/pci-and-memory-devices.md §3.2, §3.3
 */
const slotAddress = (doc: string): Property<number> & { readonly default: number } => {
  const parseText = (text: string, name: string, typeName: string): number => {
    const devfn = parseSlotAddress(text);
    if (devfn === undefined)
      throw refused(`Property '${typeName}.${name}' doesn't take value '${text}'`);
    return devfn;
  };
  const parse = (value: JsonValue, name: string, typeName: string): number => {
    if (typeof value === 'string') return parseText(value, name, typeName);
    if (typeof value !== 'bigint')
      throw refused(`Invalid parameter type for '${name}', expected int or str`);
    if (value < BigInt(AUTOMATIC_ADDRESS) || value > LAST_DEVFN)
      throw refused(`Parameter '${name}' expects a value between -1 and 255`);
    return Number(value);
  };
  return {
    qomType: 'str',
    doc,
    default: AUTOMATIC_ADDRESS,
    showDefault: true,
    parse,
    parseText,
    show: (value) => BigInt(value),
  };
};

/** Bytes that mean: as large as the ROM file. */
export const AUTOMATIC_ROM_SIZE = 0xffff_ffff;

/** Properties that every PCI device type has. reference/pci-and-memory-devices.md §3.2 */
export const commonPciProperties = {
  addr: slotAddress('Slot and optional function number, example: 06.0 or 06'),
  romfile: str('file with the option ROM'),
  romsize: uint32(AUTOMATIC_ROM_SIZE, 'size of the option ROM BAR in bytes, a power of two'),
  rombar: int32(-1, 'whether the option ROM shows in a BAR; -1 decides by itself'),
  multifunction: bool(false, 'other functions share the slot'),
  'x-pcie-lnksta-dllla': bool(true, 'the link status reports an active data link'),
  'x-pcie-extcap-init': bool(true, 'the extended capability list starts empty and read-only'),
  failover_pair_id: str('id of the standby device that this one is the primary of'),
  'acpi-index': ofPlace(uint32(0, 'onboard index that firmware reports, 0 for none')),
  'x-pcie-err-unc-mask': bool(true, 'uncorrectable errors can be masked'),
  'x-pcie-ari-nextfn-1': bool(false, 'the ARI capability names function 1 as the next one'),
  'x-max-bounce-buffer-size': ofPlace(size(4096n, 'bytes that DMA through bounce buffers may use')),
  'sriov-pf': str('id of the physical function that this virtual function belongs to'),
  'x-vfio-state': ofPlace(bool(false, 'its state has regions, see vfio-state-read')),
  'x-pcie-ext-tag': bool(true, 'the device capabilities announce extended tags'),
} as const;

export type CommonPciProperties = PropertyValues<typeof commonPciProperties>;

/**
 * Checks what the properties alone decide; the machine calls it before it places the device.
 *
 * @throws QmpError with the texts of reference/pci-and-memory-devices.md §3.4
 */
export const checkCommonPciProperties = ({ romsize }: { readonly romsize: number }): void => {
  if (romsize !== AUTOMATIC_ROM_SIZE && !Number.isInteger(Math.log2(romsize)))
    throw refused(`ROM size ${String(romsize)} is not a power of two`);
};
