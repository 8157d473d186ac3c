import { closeSync } from 'node:fs';
import type { Log } from '../../devices/core/device.js';
import type { ErrorClass } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import type { EventHub } from '../events/hub.js';
import { resume, type Resumed, type ResumeRequest } from '../events/resume.js';
import { JsonStream } from '../framing/stream.js';
import type { JsonItem } from '../framing/stream.js';
import { writeJson, writePretty } from '../framing/writer.js';
import type { Limits } from '../limits.js';
import type { Connection, ConnectionHandlers } from '../transport/connection.js';
import { ArrivedDescriptors } from './arrived-descriptors.js';
import { readCapabilities } from './capabilities.js';
import { isOutOfBand, readEnvelope } from './envelope.js';
import type { Request } from './envelope.js';
import { EventOutbox } from './outbox.js';
import type { CommandClient, NamedDescriptors, Outcome, QmpTarget } from './target.js';

/** What all sessions of a monitor share. */
export interface SessionContext {
  readonly target: QmpTarget;
  readonly events: EventHub;
  readonly limits: Limits;
  readonly log: Log;
  /** Many lines for each message, for people. */
  readonly pretty: boolean;
  readonly descriptors: NamedDescriptors;
  /** What negotiation waits for. */
  readonly awaited?: Promise<void> | undefined;
}

const NEGOTIATE = 'qmp_capabilities';
const failed = (errorClass: ErrorClass, desc: string): Outcome => ({
  ok: false,
  class: errorClass,
  desc,
});
/** The success of `qmp_capabilities`. */
const NEGOTIATED: Outcome = { ok: true, value: {} };

/** Members in QEMU's order: `return`, `id` and `id`, `error`. */
const replyOf = (outcome: Outcome, id: JsonValue | undefined): object => {
  if (outcome.ok) return { return: outcome.value ?? {}, id };
  return { id, error: { class: outcome.class, desc: outcome.desc } };
};

/** An in-band message, and where it ends in the input. */
interface Waiting {
  readonly item: JsonItem;
  readonly position: number;
}

/**
 * One client of a monitor: negotiation, the in-band queue, out-of-band requests, replies, events.
 *
 * @see reference/qmp-protocol.md §2-§4
 */
export class Session implements ConnectionHandlers, CommandClient {
  readonly #context: SessionContext;
  readonly #connection: Connection;
  readonly #onGone: () => void;
  readonly #stream: JsonStream;
  readonly #outbox: EventOutbox;
  /** In-band messages that wait; more than one only with out-of-band on. */
  readonly #queue: Waiting[] = [];
  readonly #arrived = new ArrivedDescriptors();
  /** Bytes of input so far. */
  #pushed = 0;
  /** Where the in-band message ends that was looked at last; what came before counts as 0. */
  #position = 0;
  #isNegotiated = false;
  #isOobOn = false;
  /** An in-band command has not finished. */
  #isRunning = false;
  /** Out-of-band commands that have not finished. */
  #overtaking = 0;
  #isPumping = false;
  #isPaused = false;
  /** The peer sends no more. */
  #hasEnded = false;
  #closesAfterReply = false;
  #hasSubscribed = false;
  /** No more requests are looked at. */
  #isOver = false;
  #isGone = false;
  #gone: AbortController | undefined;

  constructor(context: SessionContext, connection: Connection, onGone: () => void) {
    this.#context = context;
    this.#connection = connection;
    this.#onGone = onGone;
    const { limits, events: hub, pretty } = context;
    this.#stream = new JsonStream({
      depth: limits['json-depth'],
      tokens: limits['json-tokens'],
      bytes: limits['json-bytes'],
    });
    this.#outbox = new EventOutbox({
      hub,
      connection,
      pretty,
      limit: limits['event-bytes'],
      onOverflow: () => this.#cutOff(),
    });
  }

  /** Begins: the greeting goes out at once, in a write of its own. */
  start(): void {
    this.#connection.start(this);
    this.#send(this.#context.target.greeting);
    this.#connection.flush();
  }

  /** Looks at no more requests; sends what is queued and the reply that is due, then closes. */
  end(): void {
    this.#isOver = true;
    this.#queue.length = 0;
    if (this.#isRunning) this.#closesAfterReply = true;
    else this.#close();
  }

  /** Closes at once. */
  destroy(): void {
    this.#isOver = true;
    this.#connection.destroy();
  }

  onData(bytes: Buffer, descriptors: readonly number[]): void {
    if (descriptors.length > 0) this.#keep(descriptors, bytes);
    if (this.#isOver) return;
    this.#pushed += bytes.length;
    this.#stream.push(bytes);
    this.#pump();
  }

  onDrain(): void {
    this.#outbox.catchUp();
    this.#pump();
  }

  onEnd(): void {
    this.#hasEnded = true;
    this.#pump();
  }

  onClose(reason?: string): void {
    if (reason !== undefined) this.#context.log.warn({ reason }, 'client cut off');
    this.#isOver = true;
    this.#isGone = true;
    this.#queue.length = 0;
    this.#arrived.close();
    this.#outbox.close();
    this.#gone?.abort();
    this.#onGone();
  }

  subscribe(request: ResumeRequest): Resumed {
    const { subscription, resumed } = resume(this.#context.events, request);
    this.#outbox.subscribe(subscription);
    this.#hasSubscribed = true;
    return resumed;
  }

  takeDescriptor(): number | undefined {
    return this.#arrived.take(this.#position);
  }

  get descriptors(): NamedDescriptors {
    return this.#context.descriptors;
  }

  #keep(descriptors: readonly number[], bytes: Buffer): void {
    if (this.#isOver) for (const fd of descriptors) closeSync(fd);
    else
      this.#arrived.arrive(descriptors, bytes, {
        start: this.#pushed,
        unfinished: this.#unfinished(),
      });
  }

  /** Where the last message ends that has come whole and is not answered; 0 for none. */
  #unfinished(): number {
    if (this.#stream.pending > 0) return this.#pushed;
    return this.#queue.at(-1)?.position ?? (this.#isRunning ? this.#position : 0);
  }

  /** Where the message ends that was just read; only descriptors need it exact. */
  #readTo(): number {
    return this.#arrived.isEmpty ? 0 : this.#pushed - this.#stream.pending;
  }

  closeAfterReply(): void {
    this.#isOver = true;
    this.#closesAfterReply = true;
  }

  get gone(): AbortSignal {
    this.#gone ??= new AbortController();
    if (this.#isGone) this.#gone.abort();
    return this.#gone.signal;
  }

  #close(): void {
    this.#outbox.close();
    this.#connection.end();
  }

  #cutOff(): void {
    this.#context.log.warn({ buffered: this.#connection.buffered }, 'client reads no events');
    this.destroy();
  }

  /** Works through the input as far as queue, output and the running command allow. */
  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    while (this.#step());
    this.#isPumping = false;
    this.#settle();
  }

  #step(): boolean {
    if (this.#isOver || this.#isStalled()) return false;
    if (!this.#isOobOn) return !this.#isRunning && this.#runNext();
    // Out-of-band requests overtake what is queued, so the input is looked at first.
    if (this.#queue.length < this.#context.limits['requests-queued']) {
      const item = this.#stream.next();
      if (item !== undefined) return this.#admit(item);
    }
    const waiting = this.#isRunning ? undefined : this.#queue.shift();
    return waiting !== undefined && this.#run(waiting.item, waiting.position);
  }

  /** The client leaves more output unread than it may. */
  #isStalled(): boolean {
    const mark = this.#context.limits['reply-bytes'];
    if (this.#connection.buffered <= mark) return false;
    this.#connection.flush();
    return this.#connection.buffered > mark;
  }

  #settle(): void {
    if (this.#isOver) return;
    const mustWait = this.#stream.pending > 0 || this.#isStalled();
    if (mustWait !== this.#isPaused) {
      this.#isPaused = mustWait;
      if (mustWait) this.#connection.pause();
      else this.#connection.resume();
    }
    const isIdle = !mustWait && !this.#isRunning && this.#overtaking === 0;
    if (this.#hasEnded && isIdle && this.#queue.length === 0) this.end();
  }

  #admit(item: JsonItem): true {
    if (item.kind === 'value' && isOutOfBand(item.value)) this.#execute(item, true);
    else this.#queue.push({ item, position: this.#readTo() });
    return true;
  }

  #runNext(): boolean {
    const item = this.#stream.next();
    return item !== undefined && this.#run(item, this.#readTo());
  }

  #run(item: JsonItem, position: number): true {
    this.#isRunning = true;
    this.#position = position;
    if (!this.#arrived.isEmpty) this.#arrived.begin(position);
    this.#execute(item, false);
    return true;
  }

  #execute(item: JsonItem, isOob: boolean): void {
    if (item.kind === 'error') {
      this.#answer(failed('GenericError', item.desc), undefined, isOob);
      return;
    }
    const request = readEnvelope(item.value, this.#isOobOn);
    const { id } = request;
    const outcome =
      'problem' in request ? failed('GenericError', request.problem) : this.#dispatch(request);
    if (outcome instanceof Promise) this.#awaitOutcome(outcome, id, isOob);
    else this.#answer(outcome, id, isOob);
  }

  #awaitOutcome(promise: Promise<Outcome>, id: JsonValue | undefined, isOob: boolean): void {
    if (isOob) this.#overtaking++;
    const settled = (outcome: Outcome): void => {
      if (isOob) this.#overtaking--;
      this.#answer(outcome, id, isOob);
      this.#pump();
    };
    promise.then(settled, (error: unknown) => settled(this.#bug(error)));
  }

  #dispatch(request: Request): Outcome | Promise<Outcome> {
    const { command, oob, arguments: args } = request;
    if (command === NEGOTIATE || !this.#isNegotiated) return this.#negotiate(request);
    try {
      return this.#context.target.run({ command, arguments: args, oob, client: this });
    } catch (error) {
      return this.#bug(error);
    }
  }

  #negotiate({ command, oob, arguments: args }: Request): Outcome | Promise<Outcome> {
    if (command !== NEGOTIATE)
      return failed('CommandNotFound', `Expecting capabilities negotiation with '${NEGOTIATE}'`);
    if (oob) return failed('GenericError', `The command ${NEGOTIATE} does not support OOB`);
    const capabilities = readCapabilities(args);
    if ('problem' in capabilities) return failed('GenericError', capabilities.problem);
    if (this.#isNegotiated)
      return failed(
        'CommandNotFound',
        'Capabilities negotiation is already complete, command ignored',
      );
    const negotiated = (): Outcome => {
      this.#isNegotiated = true;
      this.#isOobOn = capabilities.oob;
      return NEGOTIATED;
    };
    const { awaited } = this.#context;
    return awaited === undefined ? negotiated() : awaited.then(negotiated);
  }

  #answer(outcome: Outcome, id: JsonValue | undefined, isOob: boolean): void {
    if (!isOob) this.#isRunning = false;
    if (this.#isGone) return;
    if (outcome === NEGOTIATED) this.#connection.flush();
    this.#reply(outcome, id);
    if (outcome === NEGOTIATED) {
      this.#connection.flush();
      this.#outbox.open();
    }
    if (isOob) return;
    if (this.#closesAfterReply) this.#close();
    else if (this.#hasSubscribed) this.#outbox.release();
  }

  #reply(outcome: Outcome, id: JsonValue | undefined): void {
    try {
      this.#send(replyOf(outcome, id));
    } catch (error) {
      this.#send(replyOf(this.#bug(error), id));
    }
  }

  #send(message: unknown): void {
    this.#connection.send(this.#context.pretty ? writePretty(message) : writeJson(message));
  }

  #bug(error: unknown): Outcome {
    this.#context.log.error({ err: error }, 'command failed unexpectedly');
    return failed('GenericError', 'internal error, see the log');
  }
}
