import type { Resumed, ResumeRequest } from '../events/resume.js';
import type { JsonObject } from '../../schema/json.js';
import type { ErrorClass } from '../../schema/error.js';

/** What a session needs of the machine behind its monitor. */
export interface QmpTarget {
  /** The object of the greeting, `{QMP: {...}}`. */
  readonly greeting: unknown;
  /**
   * Rows 4-10 of reference/qmp-protocol.md §2.3: finds the command, checks phase and arguments,
   * runs the handler in the machine's turn. Returns the outcome itself when the command completed
   * synchronously, so that the common case costs no promise. Never throws, never rejects.
   */
  run(call: CommandCall): Outcome | Promise<Outcome>;
}

export interface CommandCall {
  readonly command: string;
  readonly arguments: JsonObject | undefined;
  /** Sent with `exec-oob`. */
  readonly oob: boolean;
  readonly client: CommandClient;
}

export type Outcome =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly class: ErrorClass; readonly desc: string };

/** Descriptors that belong to a monitor: the names survive its clients. */
export interface NamedDescriptors {
  /**
   * Takes `fd` over; closes what had the name before.
   *
   * @throws QmpError when the machine keeps too many; `fd` stays the caller's
   */
  set(name: string, fd: number): void;
  /** Gives the descriptor away with its name; undefined when there is none. */
  take(name: string): number | undefined;
}

/** The session as a command sees it. */
export interface CommandClient {
  /** Turns qmemd's own events on for this session (`subscribe-events`). */
  subscribe(request: ResumeRequest): Resumed;
  /**
   * Of an in-band command: the descriptor that came with its request, or before it when nobody has
   * taken that; the caller owns it.
   */
  takeDescriptor(): number | undefined;
  /** The named descriptors of the client's monitor. */
  readonly descriptors: NamedDescriptors;
  /** After the reply of the running command: flush, close, answer nothing more. */
  closeAfterReply(): void;
  /** Aborted when the client is gone. */
  readonly gone: AbortSignal;
}

/** A value whose JSON text is known already (large, unchanging replies). */
export class PreparedJson {
  readonly value: unknown;
  readonly text: string;
  constructor(value: unknown, text: string) {
    this.value = value;
    this.text = text;
  }
}
