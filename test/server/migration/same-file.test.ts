import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { privateFolder } from '../../support/daemon.js';
import { needsNative } from '../../support/mdevice.js';
import { runStatus, startHost, statusIs, type Host } from '../../support/migration.js';

const MIB = 1 << 20;
const AT = '0x40000';
const OWN = "memory 'ram0' of /machine";
const DEVICE = "memory 'memdev' of /machine/peripheral/d";

const ram = (path: string, options: string): string[] => [
  ...['-object', `memory-backend-file,id=m,size=1M,mem-path=${path},${options}`],
  ...['-machine', 'pc,memory-backend=m', '-m', '1M'],
];
const device = (path: string, options: string): string[] => [
  ...['-object', `memory-backend-file,id=n,size=1M,mem-path=${path},${options}`],
  ...['-device', 'iopmem,id=d,memdev=n'],
];
const failure = async ({ qmp }: Host): Promise<unknown> =>
  ((await qmp.execute('query-migrate')) as { 'error-desc'?: string })['error-desc'];

/** Both machines of these options, with files of 2 MiB in a folder; what is sent goes wrong. */
const refusal = async (
  t: Test,
  words: (folder: string) => { source: string[]; destination: string[] },
): Promise<{ a: Host; text: unknown; bytes: () => Buffer }> => {
  const folder = privateFolder(t);
  for (const name of ['one', 'two']) writeFileSync(join(folder, name), Buffer.alloc(2 * MIB, 0x41));
  const { source, destination } = words(folder);
  const a = await startHost(t, source);
  const b = await startHost(t, [...destination, '-incoming', 'defer']);
  const uri = `unix:${folder}/socket`;
  await b.qmp.execute('migrate-incoming', { uri });
  // So that it would fail after all memory has been sent.
  await a.qmp.execute('migrate-set-capabilities', {
    capabilities: [{ capability: 'pause-before-switchover', state: true }],
  });
  await a.qmp.execute('migrate', { uri });
  for (;;) {
    const { data } = await a.qmp.event('MIGRATION');
    if (data?.['status'] === 'failed') break;
    if (data?.['status'] === 'pre-switchover') await a.qmp.execute('migrate_cancel');
    if (data?.['status'] === 'cancelled') {
      await statusIs(b.qmp, 'failed');
      break;
    }
  }
  t.equal(await runStatus(a), 'running');
  return { a, text: await failure(a), bytes: () => readFileSync(join(folder, 'one')) };
};
const WHERE = 'The destination refused: migration stream: byte 16, frame 0: ';

t.test('a destination writes into no file that the source reads from', needsNative, async (t) => {
  for (const [what, words, text] of [
    [
      'mapped privately by the source, shared by the destination',
      (folder: string) => ({
        source: ram(`${folder}/one`, 'share=off'),
        destination: ram(`${folder}/one`, 'share=on'),
      }),
      `${OWN} lies in a file of which the source has ${OWN}: what comes would change it there`,
    ],
    [
      'another part that overlaps',
      (folder: string) => ({
        source: ram(`${folder}/one`, 'share=on'),
        destination: ram(`${folder}/one`, 'share=on,offset=64K'),
      }),
      `${OWN} lies in a file of which the source has ${OWN}: what comes would change it there`,
    ],
    [
      'other memory of the source',
      (folder: string) => ({
        source: [...ram(`${folder}/one`, 'share=off'), ...device(`${folder}/two`, 'share=off')],
        destination: [...ram(`${folder}/two`, 'share=off'), ...device(`${folder}/one`, 'share=on')],
      }),
      `${DEVICE} lies in a file of which the source has ${OWN}: what comes would change it there`,
    ],
  ] as const)
    await t.test(what, async (t) => {
      const { a, text: told, bytes } = await refusal(t, words);
      t.equal(await a.qtest.value(`readl ${AT}`), 0x41414141n, 'the source has its memory');
      t.equal(bytes().equals(Buffer.alloc(2 * MIB, 0x41)), true, 'and so has the file');
      t.equal(told, `${WHERE}${text}`);
    });
});

t.test('what does not touch the source is taken', needsNative, async (t) => {
  for (const [what, words] of [
    [
      'private at both ends',
      (folder: string) => ({
        source: ram(`${folder}/one`, 'share=off'),
        destination: ram(`${folder}/one`, 'share=off'),
      }),
    ],
    [
      'parts side by side',
      (folder: string) => ({
        source: ram(`${folder}/one`, 'share=off'),
        destination: ram(`${folder}/one`, 'share=on,offset=1M'),
      }),
    ],
    [
      'the same, shared by both',
      (folder: string) => ({
        source: ram(`${folder}/one`, 'share=on'),
        destination: ram(`${folder}/one`, 'share=on'),
      }),
    ],
  ] as const)
    await t.test(what, async (t) => {
      const { a, text } = await refusal(t, words);
      t.equal(text, undefined, 'it was cancelled');
      t.equal(await a.qtest.value(`readl ${AT}`), 0x41414141n);
    });
});
