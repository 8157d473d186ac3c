import t from 'tap';
import { wire } from '../../support/wire.js';

const OOB = '{"exec-oob":"query-yank","id":"oob"}';
const OOB_REPLY = '{"return": [{"type": "chardev", "id": "compat_monitor0"}], "id": "oob"}';

for (const limit of [1, 2, 3, 8, 100]) {
  t.test(`requests-queued=${String(limit)}: out-of-band overtakes up to there`, (t) => {
    for (const [queued, replies] of [
      [limit - 1, [OOB_REPLY]],
      [limit, []],
    ] as const) {
      const { ready, target } = wire({ limits: { 'requests-queued': limit } });
      const connection = ready('["oob"]');
      connection.feed('{"execute":"wait"}');
      connection.feed('{"execute":"query-name"}'.repeat(queued) + OOB);
      t.strictSame(connection.take(), replies, `${String(queued)} queued`);
      t.equal(connection.isPaused, replies.length === 0, 'reading stops at the limit');
      target.release();
      setImmediate(() => {
        const rest = connection.take();
        t.equal(rest.length, 1 + queued + (1 - replies.length), 'nothing is lost');
        t.equal(connection.isPaused, false);
        if (replies.length === 0) t.end();
      });
    }
  });
}
