/** Number of inputs of the I/O APIC. */
export const INTERRUPT_INPUTS = 24;

export type InterruptHook = (input: number, level: boolean) => void;

/**
 * Inputs of the interrupt controller. A line is up while any of its sources is; sources count, so
 * that several devices share an input.
 */
export class Interrupts {
  readonly #counts = new Array<number>(INTERRUPT_INPUTS).fill(0);
  readonly #levels = new Array<boolean>(INTERRUPT_INPUTS).fill(false);
  readonly #hooks = new Set<InterruptHook>();

  level(input: number): boolean {
    return this.#levels[input] ?? false;
  }

  /** Adds or takes away one source of `input`. */
  adjust(input: number, by: 1 | -1): void {
    const before = this.#counts[input] ?? 0;
    const after = Math.max(0, before + by);
    this.#counts[input] = after;
    if (before > 0 !== after > 0) this.set(input, after > 0);
  }

  /** Drives `input` directly, as the last to do so; holds until its sources come or go. */
  set(input: number, level: boolean): void {
    if (this.level(input) === level) return;
    this.#levels[input] = level;
    for (const hook of this.#hooks) hook(input, level);
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
