/** Number of inputs of the I/O APIC. */
export const INTERRUPT_INPUTS = 24;

export type InterruptHook = (input: number, level: boolean) => void;

/**
 * Inputs of the interrupt controller. A line is up while any of its sources is; sources count, so
 * that several devices share an input.
 */
export class Interrupts {
  readonly #counts = new Array<number>(INTERRUPT_INPUTS).fill(0);
  readonly #hooks = new Set<InterruptHook>();

  level(input: number): boolean {
    return (this.#counts[input] ?? 0) > 0;
  }

  /** Adds or takes away one source of `input`. */
  adjust(input: number, by: 1 | -1): void {
    const before = this.level(input);
    this.#counts[input] = Math.max(0, (this.#counts[input] ?? 0) + by);
    const after = this.level(input);
    if (before === after) return;
    for (const hook of this.#hooks) hook(input, after);
  }

  /** Calls `hook` on every change of level; returns the unsubscribe. */
  onChange(hook: InterruptHook): () => void {
    this.#hooks.add(hook);
    return () => this.#hooks.delete(hook);
  }
}

/**
 * Lines of a PCI root bus (PIRQs) on their way to inputs. Counts the sources of each line and moves
 * a line that is up when software routes it elsewhere.
 */
export class PirqRouter {
  readonly #interrupts: Interrupts;
  readonly #inputsOf: (line: number) => readonly number[];
  readonly #counts: number[];
  /** Inputs that each line drives now; empty while the line is down. */
  readonly #driven: (readonly number[])[];

  /** @param inputsOf inputs that a line reaches under the routing of the moment */
  constructor(
    interrupts: Interrupts,
    options: { lines: number; inputsOf: (line: number) => readonly number[] },
  ) {
    this.#interrupts = interrupts;
    this.#inputsOf = options.inputsOf;
    this.#counts = new Array<number>(options.lines).fill(0);
    this.#driven = new Array<readonly number[]>(options.lines).fill([]);
  }

  /** One source of `line` went up or down. */
  set(line: number, level: boolean): void {
    this.#counts[line] = Math.max(0, (this.#counts[line] ?? 0) + (level ? 1 : -1));
    this.#drive(line);
  }

  /** The routing changed. */
  reroute(): void {
    for (const line of this.#counts.keys()) this.#drive(line);
  }

  #drive(line: number): void {
    const wanted = (this.#counts[line] ?? 0) > 0 ? this.#inputsOf(line) : [];
    const driven = this.#driven[line] ?? [];
    for (const input of wanted) if (!driven.includes(input)) this.#interrupts.adjust(input, 1);
    for (const input of driven) if (!wanted.includes(input)) this.#interrupts.adjust(input, -1);
    this.#driven[line] = wanted;
  }
}
