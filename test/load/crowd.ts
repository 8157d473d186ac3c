import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** Every so many commands one is that makes an event. */
const ACTS_EVERY = 50;
const QUERIES = ['query-name', 'query-status', 'query-version', 'no-such-command'];

/** What a member of the crowd has been told. */
export interface Account {
  readonly replies: number;
  readonly events: readonly number[];
  readonly faults: readonly string[];
}

/**
 * A client with a subscription that keeps commands under way and checks that each reply is the next
 * one of its own.
 */
export class CrowdMember {
  readonly #name: string;
  readonly #count: number;
  readonly #leavesAt: number;
  readonly #socket: Socket;
  readonly #faults: string[] = [];
  readonly #events: number[] = [];
  #partial = '';
  #sent = 0;
  #replies = 0;
  #hasStarted = false;
  #done: (() => void) | undefined;
  readonly #depth: number;

  /** @param leavesAt number of replies after which it goes away without a word */
  constructor(
    path: string,
    options: { name: string; count: number; leavesAt?: number; depth?: number },
  ) {
    this.#name = options.name;
    this.#count = options.count;
    this.#leavesAt = options.leavesAt ?? Infinity;
    this.#depth = options.depth ?? 8;
    this.#socket = connect(path);
    this.#socket.setEncoding('latin1');
  }

  /** Plays its part to the end; the connection stays open unless it left. */
  async run(): Promise<void> {
    const finished = new Promise<void>((resolve, reject) => {
      this.#done = resolve;
      this.#socket.on('error', reject);
      this.#socket.on('close', () => reject(new Error(`${this.#name}: closed by the server`)));
    });
    finished.catch(() => undefined);
    await once(this.#socket, 'connect');
    this.#socket.on('data', (text: string) => this.#receive(text));
    this.#socket.write('{"execute":"qmp_capabilities"}{"execute":"subscribe-events"}');
    await finished;
  }

  /** Settles when the event of that number has come. */
  async until(seq: number): Promise<void> {
    while ((this.#events.at(-1) ?? seq) < seq) await once(this.#socket, 'data');
  }

  get account(): Account {
    return { replies: this.#replies, events: this.#events, faults: this.#faults };
  }

  close(): void {
    this.#socket.removeAllListeners('close');
    this.#socket.destroy();
  }

  #id(n: number): string {
    return `${this.#name}-${String(n)}`;
  }

  #command(n: number): string {
    if (n % ACTS_EVERY === 0) return 'system_reset';
    return QUERIES[n % QUERIES.length] ?? '';
  }

  #more(): void {
    let text = '';
    while (this.#sent < this.#count && this.#sent - this.#replies < this.#depth) {
      const command = this.#command(this.#sent);
      text += `{"execute":"${command}","id":"${this.#id(this.#sent++)}"}`;
    }
    if (text !== '') this.#socket.write(text);
  }

  #receive(text: string): void {
    const lines = (this.#partial + text).split('\r\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.#take(line);
    if (this.#replies >= this.#leavesAt) {
      this.close();
      this.#done?.();
    } else if (this.#replies === this.#count) this.#done?.();
    else if (this.#hasStarted) this.#more();
  }

  #take(line: string): void {
    const message = JSON.parse(line) as { id?: string; event?: string; seq?: number };
    if (message.event !== undefined) {
      const last = this.#events.at(-1);
      const seq = message.seq ?? NaN;
      if (last !== undefined && seq !== last + 1)
        this.#faults.push(`event ${String(seq)} after ${String(last)}`);
      this.#events.push(seq);
    } else if (message.id !== undefined) {
      const wanted = this.#id(this.#replies++);
      if (message.id !== wanted) this.#faults.push(`reply to ${message.id} instead of ${wanted}`);
    } else if (line.includes('"stream"')) this.#hasStarted = true;
    else if (!line.includes('"QMP"') && line !== '{"return": {}}') this.#faults.push(line);
  }
}
