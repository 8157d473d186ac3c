import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { SocketOutlet } from '../../../server/migration/outlet.js';
import { eventually, privateFolder } from '../../support/daemon.js';

t.test('what the peer said before the connection is cut still comes', async (t) => {
  const path = join(privateFolder(t), 'peer');
  const server = createServer().listen(path);
  t.teardown(() => server.close());
  const came = once(server, 'connection') as Promise<[Socket]>;
  const outlet = new SocketOutlet(connect(path));
  const told: string[] = [];
  outlet.listen({
    onData: (bytes) => told.push(bytes.toString()),
    onFailure: (reason) => told.push(reason),
  });
  const [peer] = await came;
  peer.on('error', () => undefined);
  peer.write('it runs here');
  outlet.cut();
  await eventually('cut', () => told.length > 1);
  t.strictSame(told, ['it runs here', 'The connection was closed']);
});
