import { asPoolHead, type Head } from '../../devices/cxl-mhsld/index.js';
import type * as pools from '../../schema/cxl-pools.js';
import { refused } from '../../schema/error.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type { Machine } from '../machine/machine.js';
import type { CommandContext } from './context.js';

type PoolInfo = Infer<typeof pools.CxlPoolInfo>;

/** A head of this machine and where it is. */
interface OwnHead {
  readonly path: string;
  readonly head: Head;
}

const ownHeads = (machine: Machine): OwnHead[] =>
  [...machine.devices.entries].flatMap(({ device, object }) => {
    const head = asPoolHead(device);
    return head?.attached === true ? [{ path: object.path, head }] : [];
  });

/** @param heads of one pool, one at least */
const describePool = (state: string, heads: readonly OwnHead[]): PoolInfo[] => {
  const pool = heads[0]?.head.pool;
  if (pool === undefined) return [];
  const placeOf = new Map(
    heads.map(({ head: { pool }, path }) => [
      pool.head,
      { path, ...(pool.isWaiting ? { waiting: true } : {}) },
    ]),
  );
  return [
    {
      state,
      blocks: BigInt(pool.blocks),
      heads: pool.heads().map(({ head, state, blocks }) => {
        return { head, state, blocks: BigInt(blocks), ...placeOf.get(head) };
      }),
      owners: pool.owners().map(({ first, count, heads }) => ({
        ...{ first: BigInt(first), count: BigInt(count), heads: [...heads] },
      })),
      moves: [...pool.moves()],
      conflicts: heads.flatMap(({ head }) => {
        const conflict = head.ownership.lastConflict;
        if (conflict === undefined) return [];
        const { block, heads } = conflict;
        return [{ head: head.pool.head, block: BigInt(block), heads: [...heads] }];
      }),
    },
  ];
};

export const cxlPoolHandlers = {
  'query-cxl-pools': (_args, { machine }) => {
    const byName = new Map<string, OwnHead[]>();
    for (const own of ownHeads(machine)) {
      const { name } = own.head.pool;
      byName.set(name, [...(byName.get(name) ?? []), own]);
    }
    const names = [...byName.keys()].sort();
    return names.flatMap((name) => describePool(name, byName.get(name) ?? []));
  },
  'cxl-free-head': ({ path, head }, { machine }) => {
    const entry = machine.devices.find(path);
    const living = asPoolHead(entry.device);
    if (living === undefined)
      throw refused(`device '${path}' is a ${entry.type.name}: it is no head of a CXL pool`);
    return { blocks: BigInt(living.pool.freeHead(head)) };
  },
} satisfies Handlers<typeof pools, CommandContext>;
