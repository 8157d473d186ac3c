import {
  Migration,
  MigrationPass,
  type MigrationInfo,
  type MigrationStatus,
} from '../../schema/migration.js';
import type { EventData, EventDef, Infer } from '../../schema/lang.js';

export type Status = Infer<typeof MigrationStatus>;
type Info = Infer<typeof MigrationInfo>;

/** Bytes of a page in counts and streams. */
export const PAGE = 4096;

export interface ProgressOptions {
  readonly emit: <E extends EventDef>(event: E, data: EventData<E>) => void;
  /** Whether capability `events` is on. */
  readonly events: () => boolean;
}

/** Statuses in which a migration is under way. */
const UNDER_WAY: ReadonlySet<Status> = new Set([
  'setup',
  'active',
  'pre-switchover',
  'device',
  'cancelling',
]);

/** Where one migration stands, and the events that tell of it. */
export class Progress {
  readonly #options: ProgressOptions;
  #status: Status = 'none';
  #error: string | undefined;

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  get status(): Status {
    return this.#status;
  }
  get isUnderWay(): boolean {
    return UNDER_WAY.has(this.#status);
  }
  /** @param error why it failed */
  become(status: Status, error?: string): void {
    if (status === this.#status && status !== 'setup') return;
    this.#status = status;
    this.#error = error;
    if (this.#options.events()) this.#options.emit(Migration, { status });
  }
  /** Forgets what was, without an event. */
  clear(): void {
    this.#status = 'none';
    this.#error = undefined;
  }
  pass(pass: number): void {
    if (this.#options.events()) this.#options.emit(MigrationPass, { pass: BigInt(pass) });
  }
  /** `status` and `error-desc`, unless there was nothing. */
  info(): Pick<Info, 'status' | 'error-desc'> {
    if (this.#status === 'none') return {};
    return {
      status: this.#status,
      ...(this.#error === undefined ? {} : { 'error-desc': this.#error }),
    };
  }
}

/** What a pass has shown. */
export interface MeasuredPass {
  /** Ranges without storage take no time, and say nothing about the next pass. */
  readonly readPages: number;
  /** By the guest side and by devices, while it lasted. */
  readonly writtenPages: number;
  /** Still to go. */
  readonly dirtyBytes: number;
  readonly elapsedMs: number;
  /** Bytes in a millisecond; pages of zeros seem to be sent faster than others can be. */
  readonly mostRate: number;
}

/** What an outgoing migration has done so far. Times in milliseconds of the host, sizes in bytes. */
export class Counts {
  readonly #now: () => number;
  readonly #startedAt: number;
  setupMs = 0;
  #stoppedAt: number | undefined;
  #endedAt: number | undefined;
  /** Bytes of all memory that goes along. */
  total = 0;
  transferred = 0;
  precopy = 0;
  /** Pages sent with their bytes. */
  normal = 0;
  /** Pages of zeros. */
  duplicate = 0;
  /** Those of them that nobody had to look at. */
  holes = 0;
  passes = 0;
  /** Pages written in a second, during the last pass. */
  dirtyRate = 0;
  /** Bytes of memory sent in a millisecond, of late. */
  rate = 0;
  expectedDowntimeMs: number;
  /** Bytes still to go. */
  remaining: () => number = () => 0;

  constructor(expectedDowntimeMs: number, now: () => number = () => performance.now()) {
    this.#now = now;
    this.#startedAt = now();
    this.expectedDowntimeMs = expectedDowntimeMs;
  }

  /** A pass has ended. */
  measure({ readPages, writtenPages, dirtyBytes, elapsedMs, mostRate }: MeasuredPass): void {
    this.rate = Math.min((readPages * PAGE) / elapsedMs, mostRate);
    this.dirtyRate = (writtenPages / elapsedMs) * 1000;
    if (this.rate > 0) this.expectedDowntimeMs = dirtyBytes / this.rate;
  }

  /** Pages that were read. */
  get read(): number {
    return this.normal + this.duplicate - this.holes;
  }
  get totalMs(): number {
    return (this.#endedAt ?? this.#now()) - this.#startedAt;
  }
  /** From the stop of the machine to the end. */
  get downtimeMs(): number {
    return this.#stoppedAt === undefined ? 0 : (this.#endedAt ?? this.#now()) - this.#stoppedAt;
  }
  setUp(): void {
    this.setupMs = this.totalMs;
  }
  stopped(): void {
    this.#stoppedAt = this.#now();
    this.precopy = this.transferred;
  }
  ended(): void {
    this.#endedAt = this.#now();
  }

  /** The members of `query-migrate` for a migration under way or completed. */
  info(isCompleted: boolean): Omit<Info, 'status'> {
    const seconds = Math.max(this.totalMs - this.setupMs, 1) / 1000;
    const pages = this.normal + this.duplicate;
    const whole = (value: number): bigint => BigInt(Math.round(value));
    return {
      'total-time': whole(this.totalMs),
      'setup-time': whole(this.setupMs),
      ...(isCompleted
        ? { downtime: whole(this.downtimeMs) }
        : { 'expected-downtime': whole(this.expectedDowntimeMs) }),
      ram: {
        transferred: whole(this.transferred),
        remaining: isCompleted ? 0n : whole(this.remaining()),
        total: whole(this.total),
        duplicate: whole(this.duplicate),
        skipped: 0n,
        normal: whole(this.normal),
        'normal-bytes': whole(this.normal * PAGE),
        'dirty-pages-rate': whole(this.dirtyRate),
        mbps: (this.transferred * 8) / 1e6 / seconds,
        'dirty-sync-count': whole(this.passes),
        'postcopy-requests': 0n,
        'page-size': BigInt(PAGE),
        'multifd-bytes': 0n,
        'pages-per-second': whole(pages / seconds),
        'precopy-bytes': whole(this.#stoppedAt === undefined ? this.transferred : this.precopy),
        'downtime-bytes': whole(
          this.#stoppedAt === undefined ? 0 : this.transferred - this.precopy,
        ),
        'postcopy-bytes': 0n,
        'dirty-sync-missed-zero-copy': 0n,
      },
    };
  }
}
