import { join } from 'node:path';
import { eventually, privateFolder, startDaemon, type Cleanup } from './daemon.js';
import type { Qmp } from './qmp.js';
import { type QmpEvent } from './qmp.js';
import { Qtest } from './qtest.js';

/** A machine in this process with a QMP client and a qtest client. */
export interface Host {
  readonly qmp: Qmp;
  readonly qtest: Qtest;
  readonly qtestPath: string;
  readonly qmpPath: string;
  readonly daemon: Awaited<ReturnType<typeof startDaemon>>['daemon'];
}

/** @param events capability `events`; it cannot be set while something comes in from the start */
export const startHost = async (
  t: Cleanup,
  words: readonly string[],
  { events = true }: { events?: boolean } = {},
): Promise<Host> => {
  const qtestPath = join(privateFolder(t), 'qtest.sock');
  const all = [...words, '-nodefaults', '-qtest', `unix:${qtestPath},server=on,wait=off`];
  const { qmp, daemon, socket: qmpPath } = await startDaemon(t, all);
  const qtest = await Qtest.connect(qtestPath);
  t.teardown(() => qtest.close());
  if (events) await setCapabilities(qmp, ['events']);
  return { qmp, qtest, qtestPath, qmpPath, daemon };
};

/** Two machines of the same make; the second one waits for a migration. */
export const startPair = async (
  t: Cleanup,
  words: readonly string[],
  {
    source = [],
    destination = [],
  }: { source?: readonly string[]; destination?: readonly string[] } = {},
): Promise<{ a: Host; b: Host; uri: string; path: string }> => {
  const path = join(privateFolder(t), 'migrate.sock');
  const a = await startHost(t, [...words, ...source]);
  const b = await startHost(t, [...words, ...destination, '-incoming', 'defer']);
  return { a, b, uri: `unix:${path}`, path };
};

export const setCapabilities = async (qmp: Qmp, names: readonly string[]): Promise<void> => {
  const capabilities = names.map((capability) => ({ capability, state: true }));
  await qmp.execute('migrate-set-capabilities', { capabilities });
};

/** Waits for a status, and returns those that were told until then. */
export const statusIs = async (qmp: Qmp, wanted: string): Promise<string[]> => {
  const seen: string[] = [];
  while (seen.at(-1) !== wanted) {
    const { data }: QmpEvent = await qmp.event('MIGRATION');
    seen.push(String(data?.['status']));
  }
  return seen;
};

/** Sends a machine from one to the other and waits for both to say so. */
export const migrate = async (a: Host, b: Host, uri: string): Promise<void> => {
  await b.qmp.execute('migrate-incoming', { uri });
  await a.qmp.execute('migrate', { uri });
  await Promise.all([statusIs(a.qmp, 'completed'), statusIs(b.qmp, 'completed')]);
};

export const runStatus = async ({ qmp }: Host): Promise<string> =>
  String(((await qmp.execute('query-status')) as { status: string }).status);

/** Settles when a machine is in that run state. */
export const becomes = (host: Host, status: string): Promise<void> =>
  eventually(`the machine is ${status}`, async () => (await runStatus(host)) === status);
