import type { EventDef } from '../../schema/lang.js';
import { writeJson, writePretty } from '../framing/writer.js';

/** Wall clock when an event was generated. */
export interface Timestamp {
  readonly seconds: number;
  readonly microseconds: number;
}

export interface EventForm {
  readonly pretty: boolean;
  /** With the sequence number, as subscribed sessions get it. */
  readonly numbered: boolean;
}

const isEmpty = (data: Readonly<Record<string, unknown>>): boolean =>
  Object.values(data).every((value) => value === undefined);

/** An event ready to be sent, written at most once for each form. */
export class StampedEvent {
  readonly name: string;
  /** True for events that QEMU does not have; only subscribed sessions get them. */
  readonly isOwn: boolean;
  /** Sequence number in its machine, from 1. */
  readonly seq: number;
  readonly #message: Readonly<Record<string, unknown>>;
  readonly #texts: (string | undefined)[] = [];

  constructor(
    definition: EventDef,
    data: Readonly<Record<string, unknown>>,
    timestamp: Timestamp,
    seq: number,
  ) {
    this.name = definition.name;
    this.isOwn = definition.features?.includes('qmemd') ?? false;
    this.seq = seq;
    const kept = isEmpty(data) ? undefined : data;
    this.#message = { timestamp, event: definition.name, data: kept };
  }

  /** The message, without line end. */
  text({ pretty, numbered }: EventForm): string {
    const form = (pretty ? 2 : 0) + (numbered ? 1 : 0);
    let text = this.#texts[form];
    if (text === undefined) {
      const message = numbered ? { ...this.#message, seq: this.seq } : this.#message;
      text = pretty ? writePretty(message) : writeJson(message);
      this.#texts[form] = text;
    }
    return text;
  }
}
