import { once } from 'node:events';
import type { Socket } from 'node:net';
import t from 'tap';
import { WebSocket, WebSocketServer } from 'ws';
import { WebSocketConnection } from '../../../server/transport/websocket.js';

/** A connection at the server, what carries its frames, and the client. */
const connect = async (t: { teardown(done: () => unknown): void }) => {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false });
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const accepted = once(server, 'connection');
  const client = new WebSocket(`ws://127.0.0.1:${String(port)}`, { perMessageDeflate: false });
  const opened = once(client, 'open');
  const [socket, { socket: stream }] = (await accepted) as [WebSocket, { socket: Socket }];
  await opened;
  t.teardown(() => {
    client.terminate();
    server.close();
  });
  return { connection: new WebSocketConnection(socket, stream), stream, client };
};

/** Counts how often the operating system is asked to write. */
const countWrites = (stream: Socket): (() => number) => {
  let count = 0;
  for (const name of ['_write', '_writev'] as const) {
    const original = stream[name] as ((...args: unknown[]) => void) | undefined;
    Object.assign(stream, {
      [name]: (...args: unknown[]) => {
        count++;
        original?.apply(stream, args);
      },
    });
  }
  return () => count;
};

t.test('all frames of a turn leave in one write, whole and in order', async (t) => {
  const { connection, stream, client } = await connect(t);
  const writes = countWrites(stream);
  const got: string[] = [];
  client.on('message', (data: Buffer) => got.push(data.toString()));
  const sent = Array.from({ length: 200 }, (_, i) => `{"return": ${String(i)}}`);
  for (const half of [sent.slice(0, 100), sent.slice(100)]) {
    const before = writes();
    for (const message of half) connection.send(message);
    t.equal(writes(), before, 'nothing leaves before the end of the turn');
    await new Promise((resolve) => setImmediate(resolve));
    t.equal(writes(), before + 1);
  }
  while (got.length < sent.length) await once(client, 'message');
  t.strictSame(got, sent);
});
