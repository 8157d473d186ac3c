import type { MemoryRegion } from '../../devices/core/memory-region.js';
import type { Machine } from '../machine/machine.js';

/** `info mtree`: the regions of the guest's address spaces, in the layout of QEMU. */

const address = (value: bigint): string => value.toString(16).padStart(16, '0');
const range = (base: bigint, size: bigint): string =>
  `${address(base)}-${address(size === 0n ? base : base + size - 1n)}`;

/** What lies behind aliases is what they are. */
const kindOf = (region: MemoryRegion): string => {
  const { aliased } = region;
  if (aliased !== undefined) return kindOf(aliased.target);
  if (region.kind !== 'ram') return 'i/o';
  return region.rom ? 'rom' : 'ram';
};

interface Placed {
  readonly region: MemoryRegion;
  readonly base: bigint;
  readonly priority: number;
}

const describe = ({ region, base, priority }: Placed): string => {
  const { aliased, size } = region;
  const head = `${range(base, size)} (prio ${String(priority)}, ${kindOf(region)}): `;
  if (aliased === undefined) return `${head}${region.name}`;
  return `${head}alias ${region.name} @${aliased.target.name} ${range(aliased.offset, size)}`;
};

/** Lines of a region and all inside it, by address; aliased regions are collected for later. */
const walk = (placed: Placed, level: number, aliases: Set<MemoryRegion>): string[] => {
  const { region, base } = placed;
  if (region.aliased !== undefined) aliases.add(region.aliased.target);
  const inside = region.subregions
    .filter(({ region: child }) => child.enabled)
    .map(({ region: child, offset, priority }) => ({
      region: child,
      base: base + offset,
      priority,
    }))
    .sort((a, b) => (a.base === b.base ? b.priority - a.priority : a.base < b.base ? -1 : 1));
  return [
    `${'  '.repeat(level)}${describe(placed)}\n`,
    ...inside.flatMap((child) => walk(child, level + 1, aliases)),
  ];
};

const block = (title: string, root: MemoryRegion, aliases: Set<MemoryRegion>): string =>
  `${title}\n${walk({ region: root, base: 0n, priority: 0 }, 1, aliases).join('')}\n`;

export const memoryTree = ({ platform }: Machine): string => {
  const aliases = new Set<MemoryRegion>();
  const spaces = [
    block('address-space: memory', platform.memory.root, aliases),
    block('address-space: I/O', platform.io.root, aliases),
  ];
  // The set grows while it is walked: a target may hold aliases of its own.
  const targets: string[] = [];
  for (const target of aliases)
    targets.push(block(`memory-region: ${target.name}`, target, aliases));
  return [...spaces, ...targets].join('');
};
