import { once } from 'node:events';
import { WebSocket } from 'ws';

export interface FeedMessage {
  readonly stream?: string;
  readonly sequence?: number;
  readonly lost?: number;
  readonly gaps?: readonly { reason: string; from: number; to?: number }[];
  readonly event?: string;
  readonly seq?: number;
  readonly data?: Readonly<Record<string, unknown>>;
}

/** A client of the events endpoint. */
export class FeedClient {
  readonly #socket: WebSocket;
  readonly #messages: FeedMessage[] = [];
  #wake: (() => void) | undefined;

  private constructor(url: string, headers: Record<string, string>) {
    this.#socket = new WebSocket(url, { headers });
    this.#socket.on('message', (data: Buffer) => {
      this.#messages.push(JSON.parse(data.toString()) as FeedMessage);
      this.#wake?.();
    });
    this.#socket.on('error', () => undefined);
    this.#socket.on('close', () => this.#wake?.());
  }

  static async open(
    url: string,
    headers: Record<string, string> = {},
  ): Promise<{ feed: FeedClient; first: FeedMessage }> {
    const feed = new FeedClient(url, headers);
    const first = await feed.next();
    return { feed, first: first ?? {} };
  }

  /** Undefined once the server has closed. */
  async next(): Promise<FeedMessage | undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      if (this.#socket.readyState === WebSocket.CLOSED) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
  get socket(): WebSocket {
    return this.#socket;
  }
  async close(): Promise<void> {
    if (this.#socket.readyState === WebSocket.CLOSED) return;
    const closed = once(this.#socket, 'close');
    this.#socket.close();
    await closed;
  }
}

/** Status and body with which an upgrade is refused. */
export const refusedUpgrade = async (
  url: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string }> => {
  const socket = new WebSocket(url, { headers });
  socket.on('error', () => undefined);
  const [, response] = (await once(socket, 'unexpected-response')) as [
    unknown,
    AsyncIterable<Buffer> & { statusCode: number },
  ];
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode, body };
};
