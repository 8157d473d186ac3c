import { BRIDGE } from '../../pci/registers.js';
import type { ConfigCycles, FunctionAddress } from './config-ports.js';
import type { Kind } from './topology.js';

export interface Window {
  readonly base: bigint;
  readonly size: bigint;
}
/** Windows begin and end at multiples of these. PCI-to-PCI Bridge 1.2 §3.2.5 */
export const GRANULARITY: Readonly<Record<Kind, bigint>> = {
  io: 0x1000n,
  memory: 0x10_0000n,
  prefetch: 0x10_0000n,
};

/** The window of a bridge; undefined while it is closed. */
export const readWindow = (
  config: ConfigCycles,
  at: FunctionAddress,
  kind: Kind,
): Window | undefined => {
  const word = (register: number): bigint => BigInt(config.read(at, register, 2) & 0xfff0) << 16n;
  const upper = (register: number): bigint => BigInt(config.read(at, register, 4)) << 32n;
  const port = (register: number): bigint => BigInt(config.read(at, register, 1) & 0xf0) << 8n;
  const ends: Record<Kind, () => readonly [base: bigint, limit: bigint]> = {
    io: () => [port(BRIDGE.IO_BASE), port(BRIDGE.IO_LIMIT)],
    memory: () => [word(BRIDGE.MEMORY_BASE), word(BRIDGE.MEMORY_LIMIT)],
    prefetch: () => [
      upper(BRIDGE.PREFETCH_BASE_UPPER) | word(BRIDGE.PREFETCH_BASE),
      upper(BRIDGE.PREFETCH_LIMIT_UPPER) | word(BRIDGE.PREFETCH_LIMIT),
    ],
  };
  const [base, limit] = ends[kind]();
  return limit < base ? undefined : { base, size: limit - base + GRANULARITY[kind] };
};

/** Opens the window of a bridge; it passes nothing on before the bridge decodes. */
export const writeWindow = (
  config: ConfigCycles,
  at: FunctionAddress,
  kind: Kind,
  { base, size }: Window,
): void => {
  const limit = base + size - 1n;
  if (kind === 'io') {
    config.write(at, BRIDGE.IO_BASE, 1, Number(base >> 8n));
    config.write(at, BRIDGE.IO_LIMIT, 1, Number(limit >> 8n) & 0xf0);
    return;
  }
  const word = (address: bigint): number => Number((address >> 16n) & 0xfff0n);
  const [from, to] =
    kind === 'memory'
      ? [BRIDGE.MEMORY_BASE, BRIDGE.MEMORY_LIMIT]
      : [BRIDGE.PREFETCH_BASE, BRIDGE.PREFETCH_LIMIT];
  config.write(at, from, 2, word(base));
  config.write(at, to, 2, word(limit));
  if (kind === 'memory') return;
  config.write(at, BRIDGE.PREFETCH_BASE_UPPER, 4, Number(base >> 32n));
  config.write(at, BRIDGE.PREFETCH_LIMIT_UPPER, 4, Number(limit >> 32n));
};
