export interface PoolRace {
  /** Folder of the build: `dist/`. */
  readonly dist: URL;
  /** Claims that each contender tries. */
  readonly operations: number;
  /** Processes with a head each, at most 6. */
  readonly heads: number;
  /** Folder for the state object, best one in memory. */
  readonly directory: string;
  /** Let a C program without locks take part as head 7; needs gcc. */
  readonly c: boolean;
}
export interface PoolRaceResult {
  /** Claims won, per contender. */
  readonly wins: readonly number[];
  /** Blocks that two contenders owned at once, or lost while they owned them. */
  readonly doubles: number;
  /** Runs of blocks with an owner when all had released theirs. */
  readonly owned: number;
  /** Whether the state object stayed when the last head had left. */
  readonly left: boolean;
}
/** Processes with heads of one pool (and a C program) claim and release random blocks. */
export function raceForBlocks(race: PoolRace): Promise<PoolRaceResult>;
