import type { MemoryRegion } from '../../devices/core/memory-region.js';
import type { Machine } from '../machine/machine.js';

/** `info mtree`: the guest's address spaces, in the layout of QEMU. */

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

interface Walk {
  readonly aliases: Set<MemoryRegion>;
  /** Disabled regions are shown, too. */
  readonly disabled: boolean;
}

/** Lines of a region and all inside it, by address; aliased regions are collected for later. */
const walk = (placed: Placed, level: number, walked: Walk): string[] => {
  const { region, base } = placed;
  if (region.aliased !== undefined) walked.aliases.add(region.aliased.target);
  const inside = region.subregions
    .filter(({ region: child }) => child.enabled || walked.disabled)
    .map(({ region: child, offset, priority }) => ({
      region: child,
      base: base + offset,
      priority,
    }))
    .sort((a, b) => (a.base === b.base ? b.priority - a.priority : a.base < b.base ? -1 : 1));
  return [
    `${'  '.repeat(level)}${describe(placed)}${region.enabled ? '' : ' [disabled]'}\n`,
    ...inside.flatMap((child) => walk(child, level + 1, walked)),
  ];
};

const block = (title: string, root: MemoryRegion, walked: Walk): string =>
  `${title}\n${walk({ region: root, base: 0n, priority: 0 }, 1, walked).join('')}\n`;

const regions = ({ platform }: Machine, disabled: boolean): string => {
  const walked = { aliases: new Set<MemoryRegion>(), disabled };
  const spaces = [
    block('address-space: memory', platform.memory.root, walked),
    block('address-space: I/O', platform.io.root, walked),
  ];
  // The set grows while it is walked: a target may hold aliases of its own.
  const targets: string[] = [];
  for (const target of walked.aliases)
    targets.push(block(`memory-region: ${target.name}`, target, walked));
  return [...spaces, ...targets].join('');
};

interface Reached {
  readonly region: MemoryRegion;
  /** First address, in the space and in the region. */
  readonly base: bigint;
  readonly offset: bigint;
  size: bigint;
}

/** Whether a piece is where `before` ends, in the space and in the region. */
const follows = (before: Reached, next: Omit<Reached, 'size'>): boolean =>
  before.region === next.region &&
  before.base + before.size === next.base &&
  before.offset + before.size === next.offset;

/** What the addresses of a space reach, holes left out. */
const reached = (root: MemoryRegion): Reached[] => {
  const found: Reached[] = [];
  for (let base = 0n; base < root.size;) {
    const { region, offset, length } = root.section(base, root.size - base);
    const last = found.at(-1);
    if (region !== undefined && last !== undefined && follows(last, { region, base, offset }))
      last.size += length;
    else if (region !== undefined) found.push({ region, base, offset, size: length });
    base += length;
  }
  return found;
};

const flatView = (name: string, root: MemoryRegion, index: number): string =>
  [
    `FlatView #${String(index)}`,
    ` AS "${name}", root: ${root.name}`,
    ` Root memory region: ${root.name}`,
    ...reached(root).map(({ region, base, offset, size }) => {
      const at = offset === 0n ? '' : ` @${address(offset)}`;
      return `  ${range(base, size)} (prio 0, ${kindOf(region)}): ${region.name}${at}`;
    }),
    '\n',
  ].join('\n');

/**
 * @param flags `f`: what addresses reach instead of the tree; `D`: disabled regions, too. There is no
 *   dispatch tree for `d`, and no owner for `o`: they change nothing.
 */
export const memoryTree = (machine: Machine, flags: ReadonlySet<string>): string => {
  const { memory, io } = machine.platform;
  if (!flags.has('f')) return regions(machine, flags.has('D'));
  return flatView('memory', memory.root, 0) + flatView('I/O', io.root, 1);
};
