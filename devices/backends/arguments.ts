import type { NumaPolicy } from '../core/host-memory.js';

export const BACKEND_TYPES = [
  'memory-backend-ram',
  'memory-backend-file',
  'memory-backend-memfd',
  'memory-backend-shm',
] as const;
export type BackendType = (typeof BACKEND_TYPES)[number];

export const isBackendType = (name: string): name is BackendType =>
  (BACKEND_TYPES as readonly string[]).includes(name);

/** Arguments of `object-add` for a memory backend, checked by the schema. */
export interface BackendArguments {
  readonly 'qom-type': BackendType;
  readonly id: string;
  readonly size: bigint;
  readonly share?: boolean;
  readonly prealloc?: boolean;
  readonly 'prealloc-threads'?: number;
  readonly 'prealloc-context'?: string;
  readonly merge?: boolean;
  readonly dump?: boolean;
  readonly reserve?: boolean;
  readonly policy?: NumaPolicy;
  readonly 'host-nodes'?: readonly number[];
  readonly 'x-use-canonical-path-for-ramblock-id'?: boolean;
  // memory-backend-file
  readonly 'mem-path'?: string;
  readonly align?: bigint;
  readonly offset?: bigint;
  readonly readonly?: boolean;
  readonly rom?: 'auto' | 'on' | 'off';
  readonly pmem?: boolean;
  readonly 'discard-data'?: boolean;
  // memory-backend-memfd
  readonly hugetlb?: boolean;
  readonly hugetlbsize?: bigint;
  readonly seal?: boolean;
}

/** The same with every default filled in. */
export type BackendSettings = {
  -readonly [K in keyof BackendArguments]-?: BackendArguments[K];
};

/** @see reference/pci-and-memory-devices.md §4.1-§4.3 */
export const withDefaults = (given: BackendArguments, cpuCount: number): BackendSettings => {
  const shared = given['qom-type'] === 'memory-backend-memfd' || given['qom-type'].endsWith('-shm');
  return {
    share: shared,
    prealloc: false,
    'prealloc-threads': cpuCount,
    'prealloc-context': '',
    merge: true,
    dump: true,
    reserve: true,
    policy: 'default',
    'host-nodes': [],
    'x-use-canonical-path-for-ramblock-id': false,
    'mem-path': '',
    align: 0n,
    offset: 0n,
    readonly: false,
    rom: 'auto',
    pmem: false,
    'discard-data': false,
    hugetlb: false,
    hugetlbsize: 0n,
    seal: true,
    ...given,
  };
};
