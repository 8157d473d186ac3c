/** A place in a configuration file, as errors call it: `c.json: machines[0].monitors[1]`. */
export class Place {
  readonly #file: string;
  readonly #path: string;

  /** @param path of members; empty for the file as a whole */
  constructor(file: string, path = '') {
    this.#file = file;
    this.#path = path;
  }

  member(name: string): Place {
    return new Place(this.#file, this.#path === '' ? name : `${this.#path}.${name}`);
  }

  item(index: number): Place {
    return new Place(this.#file, `${this.#path}[${String(index)}]`);
  }

  get origin(): string {
    return this.#path === '' ? this.#file : `${this.#file}: ${this.#path}`;
  }

  /** Runs `action`; what it throws is told with the place. */
  at<T>(action: () => T): T {
    try {
      return action();
    } catch (error) {
      throw this.problem(error instanceof Error ? error.message : String(error), error);
    }
  }

  problem(text: string, cause?: unknown): Error {
    return new Error(`${this.origin}: ${text}`, { cause });
  }
}
