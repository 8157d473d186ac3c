import { join } from 'node:path';
import t from 'tap';
import type { Test } from 'tap';
import { HttpServer } from '../../server/http/server.js';
import { limitsWith } from '../../server/limits.js';
import { NativeLoader } from '../../server/os/native.js';
import type { LoadNative } from '../../server/os/native.js';
import { listenUnix } from '../../server/transport/unix.js';
import { wire } from '../support/wire.js';
import { pieces, play, singly, unixPeer, webSocketPeer, whole } from './harness.js';
import type { Connect } from './harness.js';
import { ROWS } from './rows.js';

const CUTS = { whole, 'byte by byte': singly, 'in pieces': pieces(7) };

const check = async (test: Test, connect: Connect, cuts: Partial<typeof CUTS>): Promise<void> => {
  for (const [how, cut] of Object.entries(cuts))
    for (const row of ROWS) {
      const replies = await play(connect, row, cut);
      test.strictSame(
        replies,
        row.replies,
        `row ${String(row.row)} ${how}: ${JSON.stringify(String(row.input))}`,
      );
    }
};

const folder = t.testdir();

const overUnix = async (test: Test, name: string, native: LoadNative): Promise<Connect> => {
  // Named here: a folder for each subtest makes the path too long for a socket.
  const path = join(folder, name);
  const { monitor } = wire();
  const endpoint = await listenUnix({
    path,
    native,
    onConnection: (connection) => monitor.accept(connection),
  });
  test.teardown(async () => {
    endpoint.close();
    await monitor.close();
  });
  return () => unixPeer(path);
};

t.test('every row over a UNIX socket read by recvmsg', async (t) => {
  await check(t, await overUnix(t, 'native', new NativeLoader().load), CUTS);
});

t.test('every row over a UNIX socket without the native layer', async (t) => {
  await check(t, await overUnix(t, 'plain', () => undefined), CUTS);
});

t.test('every row over a WebSocket', async (t) => {
  const { monitor } = wire();
  const server = new HttpServer({
    origin: '--listen',
    host: '127.0.0.1',
    port: 0,
    limits: limitsWith(),
    lookup: () => (connection) => monitor.accept(connection),
    health: () => ({ status: 'ok', version: '0', native: 'none', machines: [] }),
  });
  const { host, port } = await server.start();
  t.teardown(() => server.stop());
  await check(t, () => webSocketPeer(`ws://${host}:${String(port)}/qmp`), {
    whole,
    'in pieces': pieces(11),
  });
});
