import type { CommandCall, Outcome, QmpTarget } from '../session/target.js';

/** Upper bounds of the latency buckets in seconds. */
export const LATENCY_BUCKETS: readonly number[] = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
  0.25, 0.5, 1, 2.5, 10,
];

/** What is known of one command. */
export class CommandTally {
  /** Runs by result: `ok` or the class of the error. */
  readonly results = new Map<string, number>();
  /** Runs by bucket, not cumulated; the last is beyond every bound. */
  readonly buckets = new Array<number>(LATENCY_BUCKETS.length + 1).fill(0);
  /** Seconds of all runs. */
  sum = 0;
  count = 0;

  add(result: string, seconds: number): void {
    this.results.set(result, (this.results.get(result) ?? 0) + 1);
    this.sum += seconds;
    this.count++;
    let bucket = 0;
    while (seconds > (LATENCY_BUCKETS[bucket] ?? Infinity)) bucket++;
    this.buckets[bucket] = (this.buckets[bucket] ?? 0) + 1;
  }
}

/** The name under which commands that do not exist are counted, so that names stay bounded. */
const UNKNOWN = '(unknown)';

/** Counts the commands of all machines of a daemon; cheap enough to be always on. */
export class CommandRecorder {
  readonly #tallies = new Map<string, CommandTally>();

  get tallies(): ReadonlyMap<string, CommandTally> {
    return this.#tallies;
  }

  /** The same target, counted. */
  watch(target: QmpTarget): QmpTarget {
    return {
      greeting: target.greeting,
      run: (call) => {
        const started = performance.now();
        const outcome = target.run(call);
        if (!(outcome instanceof Promise)) {
          this.#record(call, outcome, started);
          return outcome;
        }
        return outcome.then((late) => {
          this.#record(call, late, started);
          return late;
        });
      },
    };
  }

  #record({ command }: CommandCall, outcome: Outcome, started: number): void {
    const result = outcome.ok ? 'ok' : outcome.class;
    const name = result === 'CommandNotFound' ? UNKNOWN : command;
    let tally = this.#tallies.get(name);
    if (tally === undefined) this.#tallies.set(name, (tally = new CommandTally()));
    tally.add(result, (performance.now() - started) / 1000);
  }
}
