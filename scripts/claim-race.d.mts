export interface ClaimRace {
  /** Module that exports NativeLoader: dist/server/os/native.js. */
  readonly native: URL;
  /** Byte slots that all contenders race for, one after the other. */
  readonly claims: number;
  /** Increments of one plain counter under a spin lock, per contender. */
  readonly increments: number;
  /** Folder for the shared file, best one in memory. */
  readonly directory: string;
  /** Let a C program take part; needs gcc. */
  readonly c: boolean;
}
export interface ClaimRaceResult {
  /** Claims that more or less than one contender counted. */
  readonly lostClaims: number;
  readonly lostIncrements: number;
  /** Claims won, per contender. */
  readonly wins: readonly number[];
}
/** Two Node processes (and a C program) race on one shared mapping. */
export function raceForClaims(race: ClaimRace): Promise<ClaimRaceResult>;
