import { once } from 'node:events';
import { WebSocket } from 'ws';

interface Seen {
  readonly event: string;
  readonly seq: number;
}
type Message = Partial<Seen> & { readonly stream?: string; readonly lost?: number };

/**
 * A subscriber that may leave and come back: what it has seen it asks for no more, and everything
 * after it must still come, exactly once and in order.
 */
export class Subscriber {
  readonly names: readonly string[];
  /** Numbers of the events of the wanted names, as they came. */
  readonly seen: number[] = [];
  /** Anything that should not have come. */
  readonly faults: string[] = [];
  readonly #url: string;
  readonly #leaves: () => boolean;
  readonly #comings: Promise<void>[] = [];
  #stream: string | undefined;
  #socket: WebSocket | undefined;
  #wake: (() => void) | undefined;

  /**
   * @param url the events endpoint of a machine
   * @param leaves asked after every event that came: whether to leave now, and come back
   */
  constructor(url: string, names: readonly string[], leaves: () => boolean = () => false) {
    this.#url = url;
    this.names = names;
    this.#leaves = leaves;
  }

  /** How often it came back. */
  get comings(): number {
    return this.#comings.length;
  }

  get #last(): number {
    return this.seen.at(-1) ?? 0;
  }

  get #address(): string {
    const query = new URLSearchParams({ event: this.names.join(','), since: String(this.#last) });
    if (this.#stream !== undefined) query.set('stream', this.#stream);
    return `${this.#url}?${query.toString()}`;
  }

  /** Connects and asks for everything after the last event seen. */
  async connect(): Promise<void> {
    const socket = new WebSocket(this.#address, { perMessageDeflate: false });
    this.#socket = socket;
    const subscribed = new Promise<void>((resolve, reject) => {
      socket.on('message', (data: Buffer) => {
        // Not the successor's business.
        if (socket === this.#socket) this.#receive(JSON.parse(data.toString()) as Message, resolve);
      });
      socket.on('error', reject);
    });
    await once(socket, 'open');
    await subscribed;
  }

  /** Leaves without a word. */
  leave(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    socket?.on('error', () => undefined);
    socket?.terminate();
  }

  /** Settles when the event of that number, or a later one, has come, and it is back. */
  async until(seq: number): Promise<void> {
    while (this.#last < seq) await new Promise<void>((resolve) => (this.#wake = resolve));
    await Promise.all(this.#comings);
  }

  #receive(message: Message, subscribed: () => void): void {
    if (message.stream !== undefined) {
      this.#stream = message.stream;
      if (message.lost !== 0) this.faults.push(`lost ${String(message.lost)}`);
      subscribed();
      return;
    }
    const { event, seq } = message;
    if (event === undefined) return;
    if (!this.names.includes(event) || seq === undefined) this.faults.push(JSON.stringify(message));
    else if (seq <= this.#last) this.faults.push(`${String(seq)} after ${String(this.#last)}`);
    else this.seen.push(seq);
    if (this.#leaves()) {
      this.leave();
      this.#comings.push(this.connect());
    }
    this.#wake?.();
  }
}
