import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import t from 'tap';
import { startDaemon } from '../../support/daemon.js';
import { Qmp } from '../../support/qmp.js';

const line = async (socket: Socket): Promise<string> => {
  let text = '';
  while (!text.includes('\r\n')) text += String((await once(socket, 'data'))[0]);
  return text;
};

t.test('a monitor connects over TCP, and again after its peer has gone', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = server.address() as AddressInfo;
  const accepted = once(server, 'connection');
  const chardev = `socket,id=m,host=127.0.0.1,port=${String(port)},reconnect-ms=1`;
  const words = ['-M', 'none', '-chardev', chardev, '-mon', 'chardev=m,mode=control'];
  const { qmp } = await startDaemon(t, words);
  const [first] = (await accepted) as [Socket];
  t.match(await line(first), /^\{"QMP"/);
  t.match(await qmp.execute('query-chardev'), [
    { label: 'm', filename: / <-> 127\.0\.0\.1:/, 'frontend-open': true },
    {},
  ]);
  const again = once(server, 'connection');
  first.destroy();
  const [second] = (await again) as [Socket];
  t.teardown(() => second.destroy());
  t.match(await line(second), /^\{"QMP"/);
  second.write('{"execute":"qmp_capabilities"}');
  t.equal(await line(second), '{"return": {}}\r\n');
});

t.test('a monitor listens on TCP, for several clients at a time', async (t) => {
  const { qmp } = await startDaemon(t, [
    '-M',
    'none',
    '-qmp',
    'tcp:127.0.0.1:0,server=on,wait=off',
  ]);
  const address = { path: '/chardevs/compat_monitor0', property: 'addr' };
  const { host, port } = (await qmp.execute('qom-get', address)) as { host: string; port: string };
  t.equal(host, '127.0.0.1');
  const where = { host, port: Number(port) };
  const clients = await Promise.all([1, 2, 3].map(() => Qmp.connect(where)));
  for (const client of clients) t.teardown(() => client.close());
  const answers = clients.map((client, i) =>
    client.execute(i === 1 ? 'query-status' : 'query-commands'),
  );
  t.match(await Promise.all(answers), [[{}], { running: true }, [{}]]);
  const [first, second, third] = clients;
  first?.close();
  await second?.execute('stop');
  t.match(await third?.event('STOP'), { event: 'STOP' });
  await third?.execute('quit');
  await second?.closed();
});
