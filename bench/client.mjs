// A client that does as little as possible: it writes ready-made bytes and counts line ends.
import { connect } from 'node:net';

const LF = 10;

const countLines = (bytes) => {
  let count = 0;
  for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) count++;
  return count;
};

export class Client {
  #socket;
  #lines = 0;
  #wake;
  #failure;

  constructor(socket) {
    this.#socket = socket;
    socket.on('data', (bytes) => {
      const count = countLines(bytes);
      this.#lines += count;
      if (count > 0) this.#wake?.();
    });
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
    socket.on('error', (error) => this.#fail(error));
  }

  /** Connects, retrying each millisecond until the socket is there, and reads the greeting, if any. */
  static async open(path, { timeoutMs = 20_000, alive = () => true, greets = true } = {}) {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const socket = await tryConnect(path);
      if (socket !== undefined) {
        const client = new Client(socket);
        if (greets) await client.#until(1);
        return client;
      }
      if (!alive() || performance.now() > end) throw new Error(`nobody listens on ${path}`);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Sends one request (an object) and waits for `lines` lines: its reply, and events if any. */
  async call(request, lines = 1) {
    await this.line(JSON.stringify(request), lines);
  }

  /** Sends one line and waits for `lines` lines. */
  async line(text, lines = 1) {
    const waiting = this.#until(this.#lines + lines);
    this.#socket.write(`${text}\n`);
    await waiting;
  }

  /**
   * Keeps `inFlight` copies of `request` (an object, or a text with its line end) outstanding for `ms`.
   *
   * @returns replies per second
   */
  async rate(request, inFlight, ms) {
    const one = typeof request === 'string' ? request : `${JSON.stringify(request)}\n`;
    const batches = Array.from({ length: inFlight + 1 }, (_, n) => Buffer.from(one.repeat(n)));
    const start = performance.now();
    const first = this.#lines;
    let sent = first + inFlight;
    this.#socket.write(batches[inFlight]);
    await new Promise((resolve, reject) => {
      this.#wake = (error) => {
        if (error) return reject(error);
        const due = inFlight - (sent - this.#lines);
        if (performance.now() - start < ms) {
          sent += due;
          this.#socket.write(batches[due]);
        } else if (this.#lines === sent) resolve();
      };
    });
    this.#wake = undefined;
    return ((sent - first) * 1000) / (performance.now() - start);
  }

  /** Lines received so far. */
  get lines() {
    return this.#lines;
  }

  close() {
    this.#socket.destroy();
  }

  #fail(error) {
    this.#failure ??= error;
    this.#wake?.(this.#failure);
  }

  async #until(lines) {
    await new Promise((resolve, reject) => {
      this.#wake = (error) => {
        if (error) reject(error);
        else if (this.#lines >= lines) resolve();
      };
      this.#wake(this.#failure);
    });
    this.#wake = undefined;
  }
}

const tryConnect = (path) =>
  new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', () => resolve(undefined));
  });
