import { connect } from 'node:net';
import t from 'tap';
import { startDaemon } from '../../support/daemon.js';

const LIMIT = 4 * 1024 * 1024;

/** Everything that the daemon answers to `commands`, up to its end. */
const answers = async (path: string, commands: readonly string[]): Promise<string[]> => {
  const socket = connect(path).setEncoding('latin1');
  socket.end(['{"execute":"qmp_capabilities"}', ...commands].join(''));
  let text = '';
  for await (const chunk of socket) text += String(chunk);
  return text.split('\r\n').slice(2, -1);
};

t.test('one bulk access moves up to its limit', async (t) => {
  const device = 'dynamic-mdevice,id=d,size=32M,align=2M,mem-path=/dev/zero';
  const { socket } = await startDaemon(t, ['-M', 'q35', '-device', device]);
  const bulk = (kind: string, member: string): string =>
    `{"execute":"guest-mmio-${kind}","arguments":{"id":"d","bar":2,"offset":0,${member}}}`;
  const data = (length: number): string =>
    bulk('write', `"data":"${Buffer.alloc(length).toString('base64')}"`);
  const [read = '', ...rest] = await answers(socket, [
    bulk('read', `"length":${String(LIMIT)}`),
    bulk('read', `"length":${String(LIMIT + 1)}`),
    data(LIMIT),
    data(LIMIT + 1),
  ]);
  t.equal(read.length, '{"return": {"data": ""}}'.length + Math.ceil(LIMIT / 3) * 4);
  t.match(rest[0], "Parameter 'length' expects at most 4194304 bytes");
  t.equal(rest[1], '{"return": {}}');
  t.match(rest[2], "Parameter 'data' expects at most 4194304 bytes");
});
