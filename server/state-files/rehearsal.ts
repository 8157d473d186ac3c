import { createHash } from 'node:crypto';
import { DIRTY_PAGE } from '../../devices/core/dirty-log.js';
import { readContainer } from '../../devices/state/container.js';
import { StateMemory } from '../../devices/state/memory.js';
import { CAPABILITY, STATE } from '../../devices/state/target.js';
import { DeviceStatePass } from '../../schema/device-state.js';
import { refused } from '../../schema/error.js';
import { overlap, sharedObject } from '../migration/memories.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import { nameOf } from '../machine/device-state.js';
import type { Machine } from '../machine/machine.js';
import { describe, difference } from './description.js';

export interface RehearsalOptions {
  readonly machine: Machine;
  readonly source: DeviceEntry;
  readonly target: DeviceEntry;
  /** Most passes while the source works; those that bring all memory for the first time are one. */
  readonly maxPasses: number;
  /** Bytes of a pass from which on the source is stopped. */
  readonly dirtyLimit: number;
  /** Whether the target runs afterwards. */
  readonly autoRun: boolean;
  /** Aborted when nobody waits any more. */
  readonly gone: AbortSignal;
}

interface Pass {
  /** Of the stream. */
  readonly bytes: number;
  readonly pages: number;
}
export interface Rehearsed {
  /** Those while the source worked. */
  readonly passes: readonly Pass[];
  /** Bytes of the streams after it was stopped. */
  readonly stopBytes: number;
  readonly configBytes: number;
  /** SHA-256 over configuration and memory, in hexadecimal. */
  readonly digestSource: string;
  readonly digestTarget: string;
  /** Host time in which neither of the two ran, in microseconds. */
  readonly downtime: number;
}

/** Bytes that are hashed before others get their turn. */
const DIGEST_PIECE = 16 * 1024 * 1024;

/**
 * A live migration of one device into another one of the same machine: passes while the source
 * works, then the rest and the configuration. Afterwards both stand still, or the target runs.
 * Others get their turn between passes.
 *
 * @see reference/vfio-device-state.md §10
 */
export class Rehearsal {
  readonly #options: RehearsalOptions;
  /** The states that the devices are in by us. */
  readonly #expected = new Map<DeviceEntry, number>();

  constructor(options: RehearsalOptions) {
    this.#options = options;
  }

  /** @throws QmpError or StateError; the source runs then, and the target was reset */
  async run(): Promise<Rehearsed> {
    this.#checkPair();
    const { source, target } = this.#options;
    try {
      return await this.#transfer();
    } catch (error) {
      if (source.realized && source.state.state === this.#expected.get(source))
        source.state.setState(STATE.RUNNING);
      if (target.realized && this.#expected.has(target)) {
        target.activity.reset();
        target.device.reset('warm');
      }
      throw error;
    }
  }

  async #transfer(): Promise<Rehearsed> {
    const { source, target, autoRun } = this.#options;
    this.#set(target, STATE.STOP);
    this.#set(source, STATE.RUNNING_LOGGING);
    const passes = await this.#precopy();
    this.#set(source, STATE.STOP_LOGGING);
    const stopped = process.hrtime.bigint();
    const rest = await this.#rest();
    const configuration = source.state.configSnapshot();
    target.state.announceConfig(BigInt(configuration.length), configuration.length);
    target.state.loadConfig(configuration);
    const downtime = Number((process.hrtime.bigint() - stopped) / 1000n);
    const [digestSource, digestTarget] = [await this.#digest(source), await this.#digest(target)];
    if (digestSource !== digestTarget)
      throw refused(
        `after the load '${nameOf(target)}' has digest ${digestTarget}, and '${nameOf(source)}' ${digestSource}`,
      );
    this.#set(source, STATE.STOP);
    if (autoRun) this.#set(target, STATE.RUNNING);
    return {
      passes,
      stopBytes: rest.reduce((sum, { bytes }) => sum + bytes, 0),
      configBytes: configuration.length,
      digestSource,
      digestTarget,
      downtime,
    };
  }

  /** @throws QmpError unless the one can become the other */
  #checkPair(): void {
    const { source, target } = this.#options;
    const names = `'${nameOf(source)}' and '${nameOf(target)}'`;
    if (source === target) throw refused(`source and target are the same device ${names}`);
    const differs = difference(describe(target), describe(source));
    if (differs !== undefined) throw refused(`device '${nameOf(target)}' ${differs}`);
    for (const mine of target.memories.list)
      for (const theirs of source.memories.list)
        if (haveCommonBytes(mine.memory, theirs.memory))
          throw refused(`devices ${names} have memory '${mine.name}' in common`);
    for (const entry of [source, target]) {
      const { state, loading, outside } = entry.state;
      if (loading || outside.saving)
        throw refused(`device '${nameOf(entry)}' is being ${loading ? 'loaded' : 'saved'}`);
      if (state !== STATE.RUNNING && (entry === source || state !== STATE.STOP))
        throw refused(
          `device '${nameOf(entry)}' is in state ${String(state)}: a rehearsal begins with a device that runs`,
        );
    }
  }

  async #precopy(): Promise<Pass[]> {
    const { dirtyLimit } = this.#options;
    const most = this.#mostPasses();
    const passes: Pass[] = [];
    while (passes.length < most) {
      const size = this.#take();
      if (size <= dirtyLimit) break;
      passes.push(this.#move(size));
      await this.#giveTurn();
    }
    return passes;
  }
  /** A pass is bounded: memory above that takes several to come once. */
  #mostPasses(): number {
    const { machine, source, maxPasses } = this.#options;
    const perPass = Math.floor(machine.options.limits['state-pass-bytes'] / DIRTY_PAGE);
    const pages = Math.ceil(Number(new StateMemory(source.memories).size) / DIRTY_PAGE);
    const image = Math.max(1, Math.ceil(pages / Math.max(1, perPass)));
    return maxPasses === 0 ? 0 : maxPasses - 1 + image;
  }
  /** What is left, of a source that changes no more. */
  async #rest(): Promise<Pass[]> {
    const passes: Pass[] = [];
    for (let size = this.#take(); size > 0; size = this.#take()) {
      passes.push(this.#move(size));
      await this.#giveTurn();
    }
    return passes;
  }
  /** Freezes what has changed. @returns bytes of the stream, 0 for nothing */
  #take(): number {
    const { state } = this.#options.source;
    return (state.capabilities & CAPABILITY.DEVICE_MEMORY) === 0 ? 0 : state.memorySize();
  }
  #move(bytes: number): Pass {
    const { machine, source, target } = this.#options;
    const stream = source.state.memoryChunk(0n, bytes);
    target.state.announceMemory(BigInt(bytes));
    target.state.loadMemoryChunk(0n, stream);
    const capacity = Number(new StateMemory(source.memories).size);
    const pages = readContainer(stream, 'memory', capacity).reduce(
      (sum, { data }) => sum + Math.ceil(data.length / DIRTY_PAGE),
      0,
    );
    const { id, object, state } = source;
    machine.options.emit(DeviceStatePass, {
      ...(id === undefined ? {} : { device: id }),
      path: object.path,
      pass: state.info().pass,
      bytes: BigInt(bytes),
    });
    return { bytes, pages };
  }

  async #digest({ state, memories }: DeviceEntry): Promise<string> {
    const memory = new StateMemory(memories);
    const size = Number(memory.size);
    const hash = createHash('sha256').update(state.target.config.save());
    const piece = Buffer.allocUnsafe(Math.min(size, DIGEST_PIECE));
    for (let at = 0; at < size; at += piece.length) {
      const bytes = piece.subarray(0, Math.min(piece.length, size - at));
      if (!memory.read(at, bytes))
        throw refused(`bytes of the memory of '${state.target.name}' are gone`);
      hash.update(bytes);
      await this.#giveTurn();
    }
    return hash.digest('hex');
  }

  #set(entry: DeviceEntry, state: number): void {
    entry.state.setState(state);
    this.#expected.set(entry, state);
  }
  /** Lets others have the machine. @throws QmpError when it is not as it was afterwards */
  async #giveTurn(): Promise<void> {
    const { machine, gone } = this.#options;
    await machine.turn.outside(new Promise((resolve) => setImmediate(resolve)));
    if (gone.aborted) throw refused('the client is gone');
    for (const [entry, state] of this.#expected) {
      if (!entry.realized) throw refused(`device '${nameOf(entry)}' was unplugged meanwhile`);
      if (entry.state.state !== state)
        throw refused(`device '${nameOf(entry)}' went to another state meanwhile`);
    }
  }
}

type Memory = DeviceEntry['memories']['list'][number]['memory'];

const haveCommonBytes = (one: Memory, other: Memory): boolean => {
  if (one === other) return !one.readonly;
  const [object, others] = [sharedObject(one), sharedObject(other)];
  if (object === undefined || others === undefined) return false;
  return overlap({ object, size: one.size }, { object: others, size: other.size });
};
