import { writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { inspect } from 'node:util';
import type * as Pino from 'pino';
import type { Logger } from 'pino';
import type { Log } from '../devices/core/device.js';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
type Method = Exclude<LogLevel, 'silent'>;
/** pino's numbers. */
const LEVELS = { trace: 10, debug: 20, info: 30, warn: 40, error: 50 } as const;

/** A log whose records can be bound to a part of the daemon. */
export interface RootLog extends Log {
  child(bindings: object): RootLog;
  /** Loads what the first record loads otherwise. @throws when it cannot be loaded */
  prepare(): void;
}

/** Bytes that wait for a reader of the log; further records are dropped: a daemon waits for nobody. */
const MAX_BEHIND = 65_536;

const require = createRequire(import.meta.url);

/** Loads pino when the first record is written: a daemon with nothing to say never pays for it. */
class LazySink {
  readonly #level: LogLevel;
  readonly #fd: number;
  #pino: Logger | undefined;
  constructor(level: LogLevel, fd: number) {
    this.#level = level;
    this.#fd = fd;
  }
  wants(method: Method): boolean {
    return LOG_LEVELS.indexOf(method) >= LOG_LEVELS.indexOf(this.#level);
  }
  prepare(): void {
    this.#pino ??= this.#load();
  }
  write(method: Method, bindings: object, data: object, message: string): void {
    try {
      const pino = (this.#pino ??= this.#load());
      pino.child(bindings)[method](data, message);
    } catch (error) {
      this.#writePlainly(method, { ...bindings, ...data }, `${message} (${String(error)})`);
    }
  }
  #load(): Logger {
    const { pino } = require('pino') as typeof Pino;
    const options = { fd: this.#fd, sync: true, maxLength: MAX_BEHIND, retryEAGAIN: () => false };
    const destination = pino.destination(options);
    // Without a listener, what cannot be written would be thrown.
    destination.on('error', () => undefined);
    return pino({ level: this.#level, base: null }, destination);
  }
  /** Where pino cannot be loaded, as in a process that has no descriptors left. */
  #writePlainly(method: Method, data: object, msg: string): void {
    const texts = Object.entries(data).map(([name, value]) => [name, inspect(value)]);
    const about: object = Object.fromEntries(texts);
    const line = JSON.stringify({ level: LEVELS[method], time: Date.now(), ...about, msg });
    try {
      writeSync(this.#fd, `${line}\n`);
    } catch {
      // Nobody reads the log: no reason to end.
    }
  }
}

class BoundLog implements RootLog {
  readonly #sink: LazySink;
  readonly #bindings: object;
  constructor(sink: LazySink, bindings: object) {
    this.#sink = sink;
    this.#bindings = bindings;
  }
  child(bindings: object): RootLog {
    return new BoundLog(this.#sink, { ...this.#bindings, ...bindings });
  }
  prepare(): void {
    this.#sink.prepare();
  }
  trace(data: object, message: string): void {
    this.#write('trace', data, message);
  }
  debug(data: object, message: string): void {
    this.#write('debug', data, message);
  }
  info(data: object, message: string): void {
    this.#write('info', data, message);
  }
  warn(data: object, message: string): void {
    this.#write('warn', data, message);
  }
  error(data: object, message: string): void {
    this.#write('error', data, message);
  }
  #write(method: Method, data: object, message: string): void {
    if (this.#sink.wants(method)) this.#sink.write(method, this.#bindings, data, message);
  }
}

/** The daemon's log: JSON lines on stderr (stdout may be a QMP channel), by pino. */
export const createLog = (level: LogLevel, fd = 2): RootLog =>
  new BoundLog(new LazySink(level, fd), {});
