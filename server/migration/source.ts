import { setTimeout as sleep } from 'node:timers/promises';
import { giveAll, takeBackAll, type Handover } from '../../devices/core/handover.js';
import { encodeConfig } from '../../devices/state/config-format.js';
import { refused } from '../../schema/error.js';
import { arr, int, object, str } from '../../schema/lang.js';
import { checkValue } from '../../schema/validate.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import type { Machine } from '../machine/machine.js';
import { saveBoard } from './board-state.js';
import { Copier } from './copy.js';
import { identityOf, platformIdentity } from './identity.js';
import { blocksOf, type Block } from './memories.js';
import type { Outlet } from './outlet.js';
import { Counts, type Progress } from './progress.js';
import { Pace } from './rate.js';
import { shapeOf } from './shape.js';
import { Standstill } from './standstill.js';
import {
  FRAME,
  FrameReader,
  FrameWriter,
  jsonOf,
  preamble,
  type Frame,
  type FrameType,
} from './stream.js';

export const Accept = object('MigrationAccept', {
  shared: arr(int('uint32', ''), 'numbers of memories that the destination has already'),
});
export const Refusal = object('MigrationRefusal', { reason: str('why') });

/** Passes begin no faster than this, in milliseconds. */
const PASS_MS = 100;
/** Most bytes of a frame of the destination. */
const ANSWER_BYTES = 1024 * 1024;

export interface OutgoingOptions {
  readonly machine: Machine;
  readonly progress: Progress;
  /** Connects, or makes the file; the signal gives that up. @throws Error with a sentence */
  readonly open: (signal: AbortSignal) => Promise<Outlet>;
}

interface Awaited {
  readonly type: FrameType;
  resolve(payload: Buffer): void;
  reject(error: Error): void;
}

/** The migration of a machine to somewhere else, from the first byte to the outcome. */
export class Outgoing {
  readonly counts: Counts;
  readonly #options: OutgoingOptions;
  readonly #writer = new FrameWriter();
  readonly #abort = new AbortController();
  #outlet: Outlet | undefined;
  #awaited: Awaited | undefined;
  /** A word of the destination that came while the last bytes of ours were on their way. */
  #early: Frame | undefined;
  /** Why it ends before its time. */
  #reason: string | undefined;
  /** The destination was told to run: it is no longer ours to end. */
  #isCommitted = false;
  #continue: (() => void) | undefined;

  constructor(options: OutgoingOptions) {
    this.#options = options;
    this.counts = new Counts(Number(this.#parameter('downtime-limit')));
  }

  /** Resolves with the outcome. Never rejects. */
  async run(): Promise<void> {
    const { progress } = this.#options;
    try {
      await this.#transfer();
      this.counts.ended();
      progress.become('completed');
    } catch (error) {
      this.#outlet?.abandon();
      if (progress.status === 'cancelling') progress.become('cancelled');
      else progress.become('failed', this.#explain(error));
    }
  }
  /** @throws QmpError when the destination was told to run, or needs nothing more */
  cancel(): void {
    if (this.#isCommitted)
      throw refused(
        this.#outlet?.isTwoWay === true
          ? 'The destination was told to run: the migration cannot be cancelled any more'
          : 'All of the machine was written: the migration cannot be cancelled any more',
      );
    this.#options.progress.become('cancelling');
    this.#giveUp('The migration was cancelled');
  }
  /** The machine ends. */
  quit(): void {
    if (!this.#isCommitted) this.#options.progress.become('cancelling');
    this.#giveUp('The machine ended');
  }
  /** The connection, if there is one yet, ends as if the destination had gone. */
  cut(): void {
    this.#outlet?.cut();
  }
  /** Ends the wait before the switch-over. */
  proceed(): void {
    this.#continue?.();
  }

  #explain(error: unknown): string {
    if (this.#reason !== undefined) return this.#reason;
    this.#options.machine.options.log.debug({ err: error }, 'migration failed');
    return error instanceof Error ? error.message : String(error);
  }
  #giveUp(reason: string): void {
    this.#reason ??= reason;
    this.#abort.abort();
    this.#awaited?.reject(new Error(reason));
    this.#continue?.();
    // Whoever waits for room to send waits for a destination that may never read again.
    this.#outlet?.abandon();
  }
  #check(): void {
    if (this.#reason !== undefined) throw new Error(this.#reason);
  }
  #parameter(name: 'max-bandwidth' | 'downtime-limit'): bigint {
    return this.#options.machine.migration.parameters.all[name] ?? 0n;
  }
  #can(capability: Parameters<Machine['migration']['capabilities']['has']>[0]): boolean {
    return this.#options.machine.migration.capabilities.has(capability);
  }

  async #transfer(): Promise<void> {
    const { machine, progress } = this.#options;
    const outlet = await this.#open();
    const blocks = blocksOf(machine);
    const entries = [...machine.devices.entries];
    const skipped = await this.#introduce(outlet, blocks);
    const copier = new Copier({
      blocks,
      isSent: (index) => !skipped.has(index),
      writer: this.#writer,
      send: (bytes, onSent) => outlet.send(bytes, onSent),
      counts: this.counts,
      pace: new Pace(() => Number(this.#parameter('max-bandwidth')), this.#abort.signal),
    });
    try {
      this.counts.setUp();
      await this.#beginPass();
      progress.become('active');
      await this.#passes(copier);
      await this.#switchOver(outlet, copier, entries);
    } finally {
      copier.close();
    }
  }
  async #open(): Promise<Outlet> {
    const outlet = await this.#options.open(this.#abort.signal);
    this.#outlet = outlet;
    const reader = new FrameReader({
      limit: (type) => (type >= FRAME.ACCEPT ? ANSWER_BYTES : undefined),
      onFrame: (frame) => this.#answered(frame),
    });
    outlet.listen({
      onData: (bytes) => {
        try {
          reader.push(bytes);
        } catch (error) {
          this.#giveUp(error instanceof Error ? error.message : String(error));
        }
      },
      onFailure: (reason) => this.#giveUp(reason),
    });
    this.#check();
    return outlet;
  }

  /** @returns numbers of the memories that are not sent */
  async #introduce(outlet: Outlet, blocks: readonly Block[]): Promise<ReadonlySet<number>> {
    const { machine } = this.#options;
    const shape = shapeOf(machine, blocks, {
      channel: outlet.isTwoWay ? 'two-way' : 'one-way',
      ignoreShared: this.#can('x-ignore-shared'),
      validateUuid: this.#can('validate-uuid'),
    });
    await this.#sendBytes(preamble());
    await this.#sendBytes(this.#writer.json(FRAME.HELLO, shape));
    const skipped = new Set<number>();
    for (const [index, memory] of shape.memories.entries())
      if (
        memory.readonly ||
        memory.borrowed === true ||
        (memory.object !== undefined && shape['ignore-shared'])
      )
        skipped.add(index);
    if (!outlet.isTwoWay) return skipped;
    const answer = jsonOf(await this.#answer(FRAME.ACCEPT)) ?? null;
    for (const index of checkValue(Accept, answer, 'accept').shared) skipped.add(index);
    return skipped;
  }

  /** Sends what is dirty, again and again, until the rest is small enough. */
  async #passes(copier: Copier): Promise<void> {
    const { counts } = this;
    for (;;) {
      const startedAt = performance.now();
      const before = counts.read;
      await copier.pass(true);
      this.#check();
      const elapsedMs = Math.max(performance.now() - startedAt, 0.1);
      const { dirtyBytes, writtenPages } = copier;
      const limit = Number(this.#parameter('max-bandwidth')) / 1000;
      const mostRate = limit === 0 ? Infinity : limit;
      const readPages = counts.read - before;
      counts.measure({ readPages, writtenPages, dirtyBytes, elapsedMs, mostRate });
      if (dirtyBytes <= counts.rate * Number(this.#parameter('downtime-limit'))) return;
      if (elapsedMs < PASS_MS)
        await sleep(PASS_MS - elapsedMs, undefined, { signal: this.#abort.signal });
      await this.#beginPass();
    }
  }
  async #beginPass(): Promise<void> {
    this.counts.passes++;
    this.#options.progress.pass(this.counts.passes);
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(this.counts.passes);
    await this.#sendBytes(this.#writer.frame(FRAME.PASS, payload));
  }

  /** The last phase. The machine goes on as before when it fails. */
  async #switchOver(
    outlet: Outlet,
    copier: Copier,
    entries: readonly DeviceEntry[],
  ): Promise<void> {
    const { machine, progress } = this.#options;
    checkSame(machine, entries);
    const standstill = new Standstill(machine);
    this.counts.stopped();
    const handovers = entries.flatMap(({ device }) => device.handover ?? []);
    try {
      await this.#pauseBefore();
      await this.#beginPass();
      await copier.pass(false);
      this.#check();
      await this.#sendState(entries, outlet.isTwoWay);
      if (outlet.isTwoWay) await this.#handOver(handovers);
      else await this.#complete(outlet);
    } catch (error) {
      if (this.#isCommitted && outlet.isTwoWay && !takeBackAll(handovers)) {
        standstill.stay();
        return;
      }
      outlet.abandon();
      if (progress.status !== 'cancelling') progress.become('failed', this.#explain(error));
      standstill.goOn();
      throw error;
    }
    for (const handover of outlet.isTwoWay ? handovers : []) handover.letGo();
    standstill.stay();
    if (outlet.isTwoWay) void outlet.finish();
  }
  /** Capability pause-before-switchover: somebody else decides when. */
  async #pauseBefore(): Promise<void> {
    if (!this.#can('pause-before-switchover')) return;
    const { progress } = this.#options;
    progress.become('pre-switchover');
    await new Promise<void>((resolve) => (this.#continue = resolve));
    this.#continue = undefined;
    this.#check();
    progress.become('device');
  }

  async #sendState(entries: readonly DeviceEntry[], isTwoWay: boolean): Promise<void> {
    const { machine } = this.#options;
    for (const [index, entry] of entries.entries()) {
      const state = encodeConfig(identityOf(entry), entry.device.save());
      const { handover } = entry.device;
      const offer =
        handover === undefined || !isTwoWay
          ? new Uint8Array()
          : encodeConfig(identityOf(entry), handover.offer());
      const front = Buffer.alloc(8);
      front.writeUInt32LE(index, 0);
      front.writeUInt32LE(state.length, 4);
      const payload = Buffer.concat([front, state, offer]);
      await this.#sendBytes(this.#writer.frame(FRAME.DEVICE, payload));
    }
    const platform = encodeConfig(platformIdentity(machine), saveBoard(machine));
    await this.#sendBytes(this.#writer.frame(FRAME.PLATFORM, platform));
    const end = {
      status: machine.runState.statusBefore,
      clock: machine.clock.now(),
      checksum: this.#writer.digest,
    };
    await this.#sendBytes(this.#writer.json(FRAME.END, end));
  }
  /** From COMMIT on the machine is the destination's, unless that is gone without a word. */
  async #handOver(handovers: readonly Handover[]): Promise<void> {
    await this.#answer(FRAME.LOADED);
    this.#check();
    giveAll(handovers);
    this.#isCommitted = true;
    await this.#sendBytes(this.#writer.frame(FRAME.COMMIT));
    await this.#answer(FRAME.RUNS);
  }
  async #complete(outlet: Outlet): Promise<void> {
    await outlet.flush();
    await outlet.store();
    this.#check();
    this.#isCommitted = true;
    await outlet.finish();
  }

  async #sendBytes(bytes: Buffer): Promise<void> {
    this.#check();
    this.counts.transferred += bytes.length;
    const room = this.#outlet?.send(bytes);
    if (room !== undefined) await room;
  }
  /** The next word of the destination, which must be this one. */
  #answer(type: FrameType): Promise<Buffer> {
    this.#check();
    const early = this.#early;
    this.#early = undefined;
    return new Promise((resolve, reject) => {
      this.#awaited = { type, resolve, reject };
      if (early !== undefined) this.#answered(early);
    });
  }
  /** @throws Error when the destination says something else */
  #answered(frame: Frame): void {
    const { type, payload } = frame;
    const awaited = this.#awaited;
    if (type === FRAME.REFUSE) {
      const { reason } = checkValue(Refusal, jsonOf(payload) ?? null, 'refusal');
      this.#giveUp(`The destination refused: ${reason}`);
    } else if (awaited?.type === type) {
      this.#awaited = undefined;
      awaited.resolve(payload);
    } else if (awaited === undefined && this.#early === undefined)
      this.#early = { ...frame, payload: Buffer.from(payload) };
    else this.#giveUp(`The destination answered out of turn`);
  }
}

/** @throws QmpError when a device has come or left since the destination was told of them */
const checkSame = ({ devices }: Machine, told: readonly DeviceEntry[]): void => {
  const now = new Set(devices.entries);
  const gone = told.find((entry) => !now.delete(entry));
  const [come] = now;
  if (gone !== undefined) throw refused(`${nameOf(gone)} has left during the migration`);
  if (come !== undefined) throw refused(`${nameOf(come)} has come during the migration`);
};
const nameOf = ({ id, type }: DeviceEntry): string => `Device '${id ?? ''}' (${type.name})`;
