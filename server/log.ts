import type { Logger } from 'pino';
import type { Log } from '../devices/core/device.js';

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
type Method = Exclude<LogLevel, 'silent'>;

/** A log whose records can be bound to a part of the daemon. */
export interface RootLog extends Log {
  child(bindings: object): RootLog;
  /** Settles when everything logged so far is written. */
  flush(): Promise<void>;
}

/** Loads pino when the first record is written: a daemon with nothing to say never pays for it. */
class LazySink {
  readonly #level: LogLevel;
  readonly #fd: number;
  #pino: Promise<Logger> | undefined;
  #last: Promise<void> = Promise.resolve();
  constructor(level: LogLevel, fd: number) {
    this.#level = level;
    this.#fd = fd;
  }
  wants(method: Method): boolean {
    return LOG_LEVELS.indexOf(method) >= LOG_LEVELS.indexOf(this.#level);
  }
  write(method: Method, bindings: object, data: object, message: string): void {
    this.#pino ??= this.#load();
    this.#last = this.#pino.then((pino) => pino.child(bindings)[method](data, message));
  }
  flush(): Promise<void> {
    return this.#last;
  }
  async #load(): Promise<Logger> {
    const { pino } = await import('pino');
    return pino({ level: this.#level, base: null }, pino.destination({ fd: this.#fd, sync: true }));
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
  flush(): Promise<void> {
    return this.#sink.flush();
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
