import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readTokenFile } from '../../../server/http/access.js';
import { privateFolder, startDaemon, type Cleanup } from '../../support/daemon.js';
import { FeedClient, refusedUpgrade } from '../../support/feed.js';

const TOKEN = 'correct-horse+battery/staple=';

const tokenFile = (test: Cleanup, text: string, mode = 0o600): string => {
  const path = join(privateFolder(test), 'token');
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
};

const start = async (test: Cleanup, host: string) => {
  const words = ['--token-file', tokenFile(test, `${TOKEN}\n`), '--listen', `${host}:0`];
  const { daemon } = await startDaemon(test, ['-M', 'none', ...words]);
  return `127.0.0.1:${String(daemon.httpAddress?.port)}`;
};

t.test('a page is served to those who show the token, on any host name', async (t) => {
  const at = await start(t, '0.0.0.0');
  const ask = (headers: Record<string, string>) => fetch(`http://${at}/machines`, { headers });
  for (const [authorization, status] of [
    [undefined, 401],
    [`Bearer ${TOKEN}`, 200],
    [`bearer  ${TOKEN}`, 200],
    [`Bearer ${TOKEN}x`, 401],
    [`Bearer ${TOKEN.slice(0, -1)}`, 401],
    ['Bearer ', 401],
    [`Basic ${TOKEN}`, 401],
    [TOKEN, 401],
  ] as const) {
    const response = await ask(authorization === undefined ? {} : { authorization });
    t.equal(response.status, status, authorization ?? 'none');
    if (status !== 401) continue;
    t.equal(response.headers.get('www-authenticate'), 'Bearer');
    t.match(await response.json(), { error: /token/ });
  }
  t.equal((await fetch(`http://${at}/machines?token=${encodeURIComponent(TOKEN)}`)).status, 401);
  t.equal(
    (await ask({ authorization: `Bearer ${TOKEN}`, origin: 'http://x.example' })).status,
    200,
  );
});

t.test('WebSocket clients show it in a header or, as browsers must, in the query', async (t) => {
  const at = await start(t, '127.0.0.1');
  const query = `token=${encodeURIComponent(TOKEN)}`;
  for (const path of ['/qmp', '/events']) {
    t.match(await refusedUpgrade(`ws://${at}${path}`), { status: 401, body: /a token is needed/ });
    t.match(await refusedUpgrade(`ws://${at}${path}?token=x`), { status: 401, body: /is wrong/ });
    const inQuery = await FeedClient.open(`ws://${at}${path}?${query}`);
    const inHeader = await FeedClient.open(`ws://${at}${path}`, {
      authorization: `Bearer ${TOKEN}`,
    });
    for (const { feed, first } of [inQuery, inHeader]) {
      t.match(first, path === '/qmp' ? { QMP: {} } : { sequence: 0 });
      await feed.close();
    }
  }
});

t.test('an address beyond loopback needs a token', async (t) => {
  for (const host of ['0.0.0.0', '[::]', 'example.com'])
    await t.rejects(startDaemon(t, ['-M', 'none', '--listen', `${host}:0`]), {
      message: /^--listen .*: without a token file only loopback addresses are accepted/,
    });
});

t.test('a token file must be private and hold one good token', async (t) => {
  const read = (path: string): string => readTokenFile(path, `--token-file ${path}`);
  t.equal(read(tokenFile(t, `\n ${TOKEN} \n`, 0o400)), TOKEN);
  t.equal(read(tokenFile(t, 'x'.repeat(16))), 'x'.repeat(16));
  for (const mode of [0o640, 0o604, 0o620, 0o644])
    t.throws(() => read(tokenFile(t, TOKEN, mode)), {
      message: new RegExp(`^--token-file .*: mode 0${mode.toString(8)} lets others`),
    });
  for (const text of ['', 'x'.repeat(15), 'x'.repeat(4097)])
    t.throws(() => read(tokenFile(t, text)), {
      message: /: the token must have 16 to 4096 characters$/,
    });
  t.throws(() => read(tokenFile(t, 'two words that are long')), { message: /letters/ });
  t.throws(() => read('/no/such/file'), {
    message: /^--token-file .*: Failed to open '\/no\/such\/file': No such file or directory$/,
  });
  await t.rejects(startDaemon(t, ['--listen', '127.0.0.1:0', '--token-file', '/no/such/file']), {
    message: /^--token-file \/no\/such\/file: Failed to open/,
  });
});
