import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { privateFolder, spawnDaemon, startDaemon } from '../support/daemon.js';
import { isMatch, LineClient, playTranscript, readTranscript } from './transcript.js';

const FOLDER = new URL('../fixtures/clients/', import.meta.url).pathname;
const named = (file: string) => readTranscript(readFileSync(join(FOLDER, file), 'utf8'));

/** The machine connects to this one; every other client connects to the machine. */
const LISTENER = 'proxmox-qmeventd.qmp';

for (const file of readdirSync(FOLDER).filter((name) => name !== LISTENER)) {
  const { title, words, steps } = named(file);
  t.test(title, async (t) => {
    const needsMemory = steps.some(({ text }) => text.includes('object-add'));
    for (const nativeDisabled of needsMemory ? [false] : [false, true]) {
      const { socket } = await startDaemon(t, words, { nativeDisabled });
      await playTranscript(await LineClient.connect(socket), steps);
      t.pass(nativeDisabled ? 'without the native layer' : 'as it is');
    }
  });
}

t.test(named(LISTENER).title, async (t) => {
  const { words, steps } = named(LISTENER);
  const path = join(privateFolder(t), 'event.sock');
  const server = createServer({ allowHalfOpen: true }).listen(path);
  t.teardown(() => server.close());
  const { child, exit } = spawnDaemon(t, [...words, '-qmp', `unix:${path}`]);
  const [socket] = (await once(server, 'connection')) as [Socket];
  const client = new LineClient(socket);
  for (const { kind, text } of steps)
    if (kind === 'send') client.send(text.replace('⟨0A⟩', '\n'));
    else t.equal(isMatch(await client.line(), text), true, text);
  child.kill('SIGTERM');
  const data = '{"guest": false, "reason": "host-signal"}';
  const shutdown = `{"timestamp": ⟨time⟩, "event": "SHUTDOWN", "data": ${data}}`;
  t.equal(isMatch(await client.line(), shutdown), true, 'SHUTDOWN');
  t.strictSame(await client.finish(), [], 'and nothing else');
  t.equal(await exit, 0);
});

t.test('a transcript that the server does not follow is told', async (t) => {
  const { socket } = await startDaemon(t, ['-M', 'none']);
  const wrong = readTranscript(
    '% -M none\n<- {"QMP": ⟨…⟩}\n-> {"execute":"x"}\n<- {"return": {}}\n',
  );
  await t.rejects(playTranscript(await LineClient.connect(socket), wrong.steps), {
    message: /wanted {"return": {}}\n {3}got {"error"/,
  });
  const more = readTranscript('<- {"QMP": ⟨…⟩}\n-> {"execute":"x"}\n');
  await t.rejects(playTranscript(await LineClient.connect(socket), more.steps), {
    message: /not asked for/,
  });
});
