import { closeSync } from 'node:fs';
import type { Limits } from '../limits.js';
import type { RootLog } from '../log.js';
import type { Machine } from '../machine/machine.js';
import type { Connection } from '../transport/connection.js';
import { accessCommands, type Command } from './accesses.js';
import { clockCommands } from './clock-commands.js';
import { CommandTable } from './command-table.js';
import { valueReply } from './hex.js';
import { Interception } from './interception.js';
import { LineReader, type Line } from './line-reader.js';
import type { QtestLog } from './log.js';
import { Replies } from './replies.js';
import { BadRequest, quoted, Words } from './words.js';

export interface QtestSessionOptions {
  readonly connection: Connection;
  readonly machine: Machine;
  readonly limits: Limits;
  readonly log: RootLog;
  readonly record: QtestLog | undefined;
  readonly onClose: () => void;
}

/** What changes something of a machine. */
const WRITES: ReadonlySet<string> = new Set([
  ...['outb', 'outw', 'outl', 'writeb', 'writew', 'writel', 'writeq'],
  ...['write', 'b64write', 'memset'],
]);

/** Replies are handed on in pieces of about this many bytes. */
const PIECE = 65_536;

/** One client of the qtest protocol: requests in order, each answered at once. */
export class QtestSession {
  readonly #options: QtestSessionOptions;
  readonly #reader: LineReader;
  readonly #words = new Words();
  readonly #interception: Interception;
  readonly #commands: CommandTable;
  readonly #replies = new Replies();
  #isRunning = false;
  /** The client does not read what it asked for: nothing is run until it does. */
  #isHeld = false;
  #atEnd = false;
  #isEnded = false;

  constructor(options: QtestSessionOptions) {
    this.#options = options;
    const { machine, limits } = options;
    const { memory, io, interrupts } = machine.platform;
    this.#reader = new LineReader(limits['qtest-line-bytes']);
    this.#interception = new Interception({
      root: machine.root,
      types: machine.options.types,
      interrupts,
      onChange: (line, level) => this.#tellInterrupt(line, level),
    });
    this.#commands = new CommandTable([
      ...accessCommands({ memory, io, maxBytes: limits['qtest-access-bytes'] }),
      ...this.#interception.commands(),
      ...clockCommands(machine.clock),
      ['module_load', moduleLoad],
    ]);
  }

  start(): void {
    this.#options.record?.opened();
    this.#options.connection.start({
      onData: (bytes, descriptors) => {
        for (const descriptor of descriptors) closeSync(descriptor);
        this.#reader.push(bytes);
        this.#run();
      },
      onDrain: () => {
        this.#isHeld = false;
        this.#options.connection.resume();
        this.#run();
      },
      onEnd: () => {
        this.#atEnd = true;
        this.#run();
      },
      onClose: () => this.#closed(),
    });
  }

  /** The guest side may go on. */
  wake(): void {
    this.#run();
  }
  /** Ends the connection after what is queued for it; no request is run any more. */
  end(): void {
    this.#isEnded = true;
    this.#interception.close();
    this.#options.connection.end();
  }
  /** Ends the connection at once. */
  destroy(): void {
    this.#isEnded = true;
    this.#options.connection.destroy();
  }

  #closed(): void {
    this.#interception.close();
    this.#options.record?.closed();
    this.#options.onClose();
  }

  #run(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    const { gate } = this.#options.machine.migration;
    while (!this.#isHeld && !this.#isEnded && !gate.isHeld) {
      const line = this.#reader.next();
      if (line === undefined) break;
      this.#answer(line);
      if (this.#replies.length >= PIECE) this.#flush();
    }
    this.#isRunning = false;
    this.#flush();
    if (this.#atEnd && !this.#isHeld && !gate.isHeld) this.#options.connection.end();
  }

  #answer(line: Line | 'overlong'): void {
    if (line === 'overlong') {
      const limit = String(this.#options.limits['qtest-line-bytes']);
      this.#send(`FAIL line longer than ${limit} bytes (--limit qtest-line-bytes)`);
      return;
    }
    const { record } = this.#options;
    record?.received(line.bytes.toString('latin1', line.start, line.end));
    if (line.start === line.end) return;
    this.#words.read(line);
    this.#send(this.#reply());
  }

  #reply(): string | bigint {
    const command = this.#commands.find(this.#words);
    if (command === undefined) return `FAIL Unknown command ${quoted(this.#words.bytes(0))}`;
    const { refusal } = this.#options.machine.migration.gate;
    if (refusal !== undefined && WRITES.has(this.#words.text(0)))
      return `FAIL ${this.#words.text(0)}: ${refusal}`;
    try {
      return command(this.#words);
    } catch (error) {
      if (error instanceof BadRequest) return `FAIL ${error.message}`;
      this.#options.log.error({ err: error, command: this.#words.text(0) }, 'qtest access failed');
      return `FAIL ${this.#words.text(0)}: internal error`;
    }
  }

  #send(reply: string | bigint): void {
    const { record } = this.#options;
    const isText = typeof reply === 'string';
    record?.sent(isText ? reply : valueReply(reply, 16));
    if (isText) this.#replies.text(reply);
    else this.#replies.value(reply);
  }

  #tellInterrupt(line: number, level: boolean): void {
    this.#send(`IRQ ${level ? 'raise' : 'lower'} ${String(line)}`);
    if (this.#isRunning) return;
    const { connection, limits, log } = this.#options;
    if (connection.buffered > limits['event-bytes']) {
      log.warn({}, 'qtest client does not read its interrupts; disconnected');
      connection.destroy();
    } else this.#flush();
  }

  /** One write for everything; a client that does not read is not asked for more. */
  #flush(): void {
    if (this.#replies.length === 0) return;
    const { connection, limits } = this.#options;
    connection.sendBytes(this.#replies.take());
    if (connection.buffered <= limits['reply-bytes'] || this.#isHeld) return;
    this.#isHeld = true;
    connection.pause();
  }
}

/** There are no modules to load. */
const moduleLoad: Command = (words) => {
  words.require(1, 'prefix');
  words.require(2, 'name');
  return 'FAIL';
};
