import { HostError } from '../../devices/core/host-memory.js';
import { STATE } from '../../devices/state/target.js';
import { QmpError, refused } from '../../schema/error.js';
import type { Limits } from '../limits.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import { configImage } from '../machine/device-state.js';
import type { Turn } from '../machine/turn.js';
import type { LoadNative } from '../os/native.js';
import { NewFile } from '../os/new-file.js';
import { readBlocks, readOpening, type Opening, type Source } from './block-reader.js';
import { MemoryGone, StateWriter, type Sink } from './block-writer.js';
import { describe, difference, encodeDescription } from './description.js';
import { Jobs, type Job } from './jobs.js';
import { DamagedState } from './layout.js';
import { MemoryLoader } from './memory-loader.js';
import { FileSource, InlineSink, InlineSource } from './places.js';

export interface StateFilesOptions {
  readonly limits: Limits;
  readonly turn: Turn;
  readonly loadNative: LoadNative;
}

/** What a client asks for: which device, and until when it waits. */
export interface StateRequest {
  readonly entry: DeviceEntry;
  /** As the client calls the device. */
  readonly name: string;
  /** Aborted when the client is gone. */
  readonly gone: AbortSignal;
}

/** Bytes of a saved state. */
export interface SavedState {
  /** Head, configuration, memory and all. */
  readonly bytes: number;
  /** The configuration alone. */
  readonly configSize: number;
  /** The device's own memory, zeros included. */
  readonly memorySize: bigint;
}

/**
 * Saves devices of one machine, each to a file or inline, and loads them. A device is held
 * meanwhile, and others are served: the turn of the machine is given up while bytes move.
 */
export class StateFiles {
  readonly #options: StateFilesOptions;
  readonly #jobs: Jobs;
  constructor(options: StateFilesOptions) {
    this.#options = options;
    this.#jobs = new Jobs(options.limits);
  }

  /** To a file, which is there when all of it is. @throws QmpError; there is no file then */
  async saveFile(request: StateRequest, path: string): Promise<SavedState> {
    checkWhole(request);
    const what = `cannot save device '${request.name}' to '${path}'`;
    return this.#jobs.run('saved', request, (job) =>
      explained(what, async () => {
        const file = await NewFile.create(path, this.#options.loadNative);
        try {
          const saved = await this.#save(job, request.gone, file);
          await file.commit();
          return saved;
        } finally {
          await file.discard();
        }
      }),
    );
  }

  /** Into memory. @throws QmpError when it is more than the limit, as well */
  async saveInline(request: StateRequest): Promise<SavedState & { readonly data: string }> {
    checkWhole(request);
    const what = `cannot save device '${request.name}'`;
    return this.#jobs.run('saved', request, (job) =>
      explained(what, async () => {
        const sink = new InlineSink(this.#options.limits['inline-state']);
        const saved = await this.#save(job, request.gone, sink);
        return { ...saved, data: sink.toBase64() };
      }),
    );
  }

  /** @throws QmpError; the device is unchanged then, or cannot run until a load succeeds */
  async loadFile(request: StateRequest, path: string): Promise<void> {
    checkStopped(request);
    const what = `cannot load device '${request.name}' from '${path}'`;
    await this.#jobs.run('loaded', request, (job) =>
      explained(what, async () => {
        const source = await FileSource.open(path);
        try {
          await this.#load(job, request.gone, source);
        } finally {
          await source.close();
        }
      }),
    );
  }

  /** @throws QmpError; the device is unchanged then */
  async loadInline(request: StateRequest, bytes: Uint8Array): Promise<void> {
    checkStopped(request);
    const limit = this.#options.limits['inline-state'];
    if (bytes.length > limit)
      throw refused(
        `state of ${String(bytes.length)} bytes is more than ${String(limit)} (limit 'inline-state'): name a path`,
      );
    await this.#jobs.run('loaded', request, (job) =>
      explained(`cannot load device '${request.name}'`, () =>
        this.#load(job, request.gone, new InlineSource(bytes)),
      ),
    );
  }

  /** Ends what is under way. Safe to call twice. */
  close(): Promise<void> {
    return this.#jobs.close();
  }

  async #save(job: Job, gone: AbortSignal, sink: Sink): Promise<SavedState> {
    const { entry } = job;
    const memories = entry.memories.list;
    const configuration = configImage(entry).save();
    const description = encodeDescription(describe(entry));
    const writer = new StateWriter(sink, () => checkAll(job, gone));
    const write = async (): Promise<void> => {
      await writer.begin(description, configuration);
      for (const [index, { memory }] of memories.entries())
        if (!memory.readonly) await writer.memory(index, memory);
      await writer.end();
      job.checkDevice();
    };
    entry.state.outside.beginSave();
    try {
      await this.#options.turn.outside(
        write().finally(() => writer.settle().catch(() => undefined)),
      );
    } finally {
      entry.state.outside.endSave();
    }
    return {
      bytes: writer.position,
      configSize: configuration.length,
      memorySize: entry.memories.size,
    };
  }

  /** Reads everything once before anything changes. */
  async #load(job: Job, gone: AbortSignal, source: Source): Promise<void> {
    const { entry } = job;
    const { turn } = this.#options;
    const { outside } = entry.state;
    outside.begin();
    try {
      const opening = await turn.outside(verify(job, gone, source));
      job.checkDevice();
      configImage(entry).load(opening.configuration);
      outside.changing();
      await turn.outside(fill(job, source, opening));
      outside.settle();
    } catch (error) {
      if (outside.half && entry.realized) throw new HalfLoaded(error);
      throw error;
    } finally {
      outside.end();
    }
  }
}

const verify = async (job: Job, gone: AbortSignal, source: Source): Promise<Opening> => {
  const opening = await readOpening(source);
  const differs = difference(describe(job.entry), opening.description);
  if (differs !== undefined) throw refused(`it ${differs}`);
  await readBlocks(source, opening, () => checkAll(job, gone));
  return opening;
};

/** Puts the memory in its place; this goes on though nobody waits for it. */
const fill = async (job: Job, source: Source, opening: Opening): Promise<void> => {
  const loader = new MemoryLoader(job.entry.memories.list, job.checkDevice);
  await readBlocks(source, opening, (piece) => loader.put(piece));
  await loader.end();
  job.checkDevice();
};

const checkStopped = ({ entry, name }: StateRequest): void => {
  const { state, loading, outside } = entry.state;
  if (state !== STATE.STOP)
    throw refused(
      `device '${name}' is ${state === STATE.STOP_LOGGING ? 'logging' : 'running'}: device-load needs state stop`,
    );
  if (loading && !outside.half && !outside.running)
    throw refused(`device '${name}' is being loaded through its regions`);
};
/** What is loaded in part is no state of the device. */
const checkWhole = ({ entry, name }: StateRequest): void => {
  const { loading, outside } = entry.state;
  // Which the job says in its own words.
  if (outside.running || !loading) return;
  throw refused(
    outside.half
      ? `cannot save device '${name}': it is loaded in part, and is whole when a load succeeds or it is reset`
      : `cannot save device '${name}': it is being loaded through its regions, and is whole when that is complete or abandoned`,
  );
};
const checkAll = (job: Job, gone: AbortSignal): void => {
  job.checkDevice();
  if (gone.aborted) throw refused('the client is gone');
};

/** A load that failed after it had begun to change the device. */
class HalfLoaded extends Error {
  constructor(cause: unknown) {
    super(reasonOf(cause), { cause });
    this.name = 'HalfLoaded';
  }
}

/** Failures that are told to clients, with what was to be done before the reason. */
const explained = async <T>(what: string, work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    const reason = reasonOf(error);
    if (error instanceof HalfLoaded)
      throw refused(
        `${what}: ${reason}; it is loaded in part, and cannot run until a load succeeds or it is reset`,
        error,
      );
    throw refused(`${what}: ${reason}`, error);
  }
};

/** @throws the error itself when it is none of those that are expected */
const reasonOf = (error: unknown): string => {
  const expected =
    error instanceof QmpError ||
    error instanceof HostError ||
    error instanceof DamagedState ||
    error instanceof MemoryGone ||
    error instanceof HalfLoaded;
  if (!expected) throw error;
  return error.message;
};
