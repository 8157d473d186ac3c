import t from 'tap';
import { startDaemon } from '../support/daemon.js';
import { pieces, play, unixPeer, webSocketPeer, whole, type Connect } from './harness.js';
import { ROWS } from './rows.js';

const WORDS = ['-M', 'none', '-name', 'vm0', '--listen', '127.0.0.1:0'];

t.test('every row of the compatibility table against the whole daemon', async (t) => {
  const { daemon, socket } = await startDaemon(t, WORDS);
  const port = String(daemon.httpAddress?.port);
  const peers: readonly (readonly [string, Connect])[] = [
    ['UNIX socket', () => unixPeer(socket)],
    ['/qmp', () => webSocketPeer(`ws://127.0.0.1:${port}/qmp`)],
    ['/machines/NAME/qmp', () => webSocketPeer(`ws://127.0.0.1:${port}/machines/vm0/qmp`)],
  ];
  for (const [name, connect] of peers)
    t.test(name, async (t) => {
      for (const row of ROWS)
        for (const cut of [whole, pieces(5)])
          t.strictSame(await play(connect, row, cut), row.replies, `row ${String(row.row)}`);
    });
});

t.test('/healthz tells version, native layer and machines', async (t) => {
  const { daemon } = await startDaemon(t, WORDS);
  const answer = await fetch(`http://127.0.0.1:${String(daemon.httpAddress?.port)}/healthz`);
  t.equal(answer.status, 200);
  t.match(await answer.json(), { status: 'ok', machines: { count: 1, names: ['vm0'] } });
});
