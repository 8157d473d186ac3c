import { closeSync, readFileSync, readSync, writeSync } from 'node:fs';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { MessageReader, type ServerMessage } from '../../devices/ivshmem/message-reader.js';
import { createLog } from '../../server/log.js';
import { parseServerOptions } from '../../server/ivshmem/options.js';
import { IvshmemService } from '../../server/ivshmem/service.js';
import { READABLE } from '../../server/os/native.js';
import { descriptorOf } from '../../server/transport/late-connection.js';
import { eventually, type Cleanup } from './daemon.js';
import { native } from './passing.js';

/** A server in this process. */
export const startIvshmem = async (
  t: Cleanup,
  words: readonly string[],
): Promise<IvshmemService> => {
  const options = parseServerOptions(words);
  if (options === undefined) throw new Error('the words ask for help');
  const service = new IvshmemService({ ...options, log: createLog('silent') });
  await service.start();
  t.teardown(() => service.stop());
  return service;
};

/** A client that keeps everything it is told. */
export class RawPeer {
  readonly messages: ServerMessage[] = [];
  closed = false;
  readonly #socket: Socket;
  readonly #fd: number;
  readonly #stop: () => void;
  readonly #reader = new MessageReader(closeSync);
  readonly #held: number[] = [];

  private constructor(socket: Socket) {
    if (native === undefined) throw new Error('needs the native layer');
    this.#socket = socket;
    this.#fd = descriptorOf(socket) ?? -1;
    const into = Buffer.alloc(4096);
    const poll = native.poll(this.#fd, READABLE, () => {
      const descriptors: number[] = [];
      const n = native?.recvmsg(this.#fd, into, descriptors) ?? 0;
      this.#held.push(...descriptors);
      if (n <= 0) {
        this.closed = true;
        poll.close();
      } else
        this.messages.push(...this.#reader.push(Buffer.from(into.subarray(0, n)), descriptors));
    });
    this.#stop = () => poll.close();
  }

  static async connect(t: Cleanup, path: string): Promise<RawPeer> {
    const socket = connect(path);
    socket.pause();
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    const peer = new RawPeer(socket);
    t.teardown(() => peer.leave());
    return peer;
  }

  /** Settles with everything so far once there are `count` messages. */
  async told(count: number): Promise<readonly ServerMessage[]> {
    await eventually(`${String(count)} messages`, () => this.messages.length >= count);
    return this.messages;
  }
  /** Values only; a message with a descriptor has a `+`. */
  get heard(): string[] {
    return this.messages.map(
      ({ value, descriptor }) => `${String(value)}${descriptor === undefined ? '' : '+'}`,
    );
  }
  /** Descriptor of message `index`. */
  descriptor(index: number): number {
    return this.messages[index]?.descriptor ?? -1;
  }
  /** Reads no more. */
  pause(): void {
    this.#stop();
  }
  say(bytes: Buffer): void {
    writeSync(this.#fd, bytes);
  }
  leave(): void {
    this.#stop();
    this.#socket.destroy();
    for (const fd of this.#held.splice(0)) closeSync(fd);
  }
}

export const raise = (fd: number): void => {
  writeSync(fd, Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]));
};
/** How often the counter was raised since the last look. */
export const raised = (fd: number): bigint => {
  const count = Buffer.alloc(8);
  try {
    readSync(fd, count);
  } catch {
    return 0n;
  }
  return count.readBigUInt64LE();
};
/** Whether the counter was raised and nobody has looked; looks without taking anything away. */
export const isRaised = (fd: number): boolean =>
  !/^eventfd-count:\s+0$/m.test(readFileSync(`/proc/self/fdinfo/${String(fd)}`, 'latin1'));
