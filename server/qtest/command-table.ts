import type { Command } from './accesses.js';
import { keyOf, type Words } from './words.js';

interface Entry {
  readonly name: Buffer;
  readonly command: Command;
}

/** Commands by name; found by the bytes of a request, without a text of them. */
export class CommandTable {
  readonly #byKey = new Map<number, Entry[]>();

  constructor(commands: readonly [string, Command][]) {
    for (const [text, command] of commands) {
      const name = Buffer.from(text);
      const key = keyOf(name, 0, name.length);
      const others = this.#byKey.get(key) ?? [];
      this.#byKey.set(key, [...others, { name, command }]);
    }
  }

  /** The command that the first word names. */
  find(words: Words): Command | undefined {
    for (const { name, command } of this.#byKey.get(words.key) ?? [])
      if (words.startsWith(name)) return command;
    return undefined;
  }
}
