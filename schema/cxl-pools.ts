import { CxlBlockRun } from './cxl.js';
import { arr, bool, command, enumeration, int, object, opt, str } from './lang.js';

/** Pools that several hosts share by heads (cxl-mhsld). All of it is ours (feature `qmemd`). */

const ours = { since: '0.1', features: ['qmemd'] } as const;

export const CxlHeadState = enumeration(
  'CxlHeadState',
  ['attached', 'dead', 'free'],
  'whether somebody has a head; of a dead one the process is gone without having let go of it',
);
export const CxlPoolHead = object('CxlPoolHead', {
  head: int('uint8', 'number of the head'),
  state: { ...CxlHeadState, doc: 'whether somebody has it' },
  blocks: int('uint64', 'blocks that it owns, alone or with others'),
  path: opt(str('object path of the device, if the head belongs to this machine')),
  waiting: opt(bool('the device at the path waits for the head to migrate to it')),
});
export const CxlPoolConflict = object('CxlPoolConflict', {
  head: int('uint8', 'head of this machine whose request failed'),
  block: int('uint64', 'first block that was in the way'),
  heads: arr(int('uint8', ''), 'who had the block; nobody when it was let go of at once'),
});
export const CxlMovePhase = enumeration(
  'CxlMovePhase',
  ['waiting', 'given', 'taken'],
  'how far the migration of a head is: another machine waits; blocks are made over; they are those of the other machine',
);
export const CxlHeadMove = object('CxlHeadMove', {
  from: int('uint8', 'number of the head that migrates'),
  to: int('uint8', 'number of the head that it becomes; the same one when it keeps its number'),
  phase: { ...CxlMovePhase, doc: 'how far it is' },
});
export const CxlPoolInfo = object('CxlPoolInfo', {
  state: str('name of the shared state object'),
  blocks: int('uint64', 'blocks of the pool, 2 MiB each'),
  heads: arr(CxlPoolHead, 'all heads, whichever process has them'),
  owners: arr(CxlBlockRun, 'owners of all blocks that somebody has, in run-length form'),
  moves: arr(CxlHeadMove, 'migrations of heads that are under way'),
  conflicts: arr(CxlPoolConflict, 'what stood in the way of the last request that failed, by head'),
});
export const queryCxlPools = command('query-cxl-pools', {
  ...ours,
  doc: 'Tell the state of every pool that this machine has a head of: its heads and who owns which blocks.',
  spec: 'reference/cxl.md §9',
  returns: arr(CxlPoolInfo, 'the pools, by the name of their state'),
});

export const CxlFreedHead = object('CxlFreedHead', {
  blocks: int('uint64', 'blocks that the head owned and nobody has through it now'),
});
export const cxlFreeHead = command('cxl-free-head', {
  ...ours,
  doc: 'Take all blocks from a head of a pool that is dead. A head that is attached is refused: its own machine gives it up.',
  spec: 'reference/cxl.md §9.6',
  args: {
    path: str('id or object path of a living head of the same pool'),
    head: int('uint8', 'number of the dead head, 0 to 7'),
  },
  returns: CxlFreedHead,
});
