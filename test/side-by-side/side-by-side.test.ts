import { readFileSync } from 'node:fs';
import t from 'tap';
import type { Json } from './client.js';
import { allows, compare, describe, type Difference, type Tolerated } from './compare.js';
import { chardevScenarios } from './chardev-requests.js';
import { generated } from './generated.js';
import { deviceScenarios } from './device-requests.js';
import { genericScenarios } from './generic-requests.js';
import { migrationScenarios } from './migration-requests.js';
import { objectScenarios } from './object-requests.js';
import type { Scenario, Step } from './requests.js';
import { qemu, qemuVersion, qmemd, startServer, type Server } from './servers.js';
import { tolerated } from './tolerated.js';

const CHANGES =
  /"execute": "(device_add|device_del|object-add|object-del|qom-set|stop|cont|system_reset)"/;

const version = qemuVersion();
/** `npm run soak` chooses others. */
const seed = Number(process.env['SEED'] ?? 20261121);
const used = new Set<Tolerated>();
const count = { requests: 0, errors: 0, afterChange: 0, generated: 0 };

const isError = (messages: readonly Json[]): boolean =>
  messages.some((message) => typeof message === 'object' && message !== null && 'error' in message);

/** The same request, with what is private to a server written as `<dir>`. */
const send = async (server: Server, step: Step): Promise<Json[]> => {
  const { client, dir } = server;
  const text = step.request.replaceAll('<dir>', dir);
  return hide(await client.request(text, step.deleted), dir) as Json[];
};

const hide = (value: Json, dir: string): Json => {
  if (typeof value === 'string') return value.replaceAll(dir, '<dir>');
  if (Array.isArray(value)) return value.map((item: Json) => hide(item, dir));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, hide(item as Json, dir)]),
  );
};

const unexplained = (differences: readonly Difference[]): string[] =>
  differences.flatMap((found) => {
    const row = tolerated.find((candidate) => allows(candidate, found));
    if (row === undefined) return [describe(found)];
    used.add(row);
    return [];
  });

/** Runs one dialogue with both and returns the differences that no row explains. */
const run = async ({ steps, generated: made }: Scenario, servers: readonly [Server, Server]) => {
  const found: string[] = [];
  let changed = false;
  for (const step of steps) {
    const [left, right] = await Promise.all([send(servers[0], step), send(servers[1], step)]);
    found.push(...unexplained(compare(step.request, left, right)));
    count.requests++;
    if (isError(left)) count.errors++;
    if (changed) count.afterChange++;
    if (made === true) count.generated++;
    changed = CHANGES.test(step.request) && !isError(left);
  }
  return found;
};

const skip = version === undefined ? 'qemu-system-x86_64 is not installed' : false;

t.test('QEMU and qmemd answer the same to the same requests', { skip }, async (t) => {
  t.comment(`${version}; SEED=${seed} repeats the made up requests`);
  for (const scenario of [
    ...genericScenarios,
    ...chardevScenarios,
    ...deviceScenarios,
    ...objectScenarios,
    ...migrationScenarios,
    ...generated(seed),
  ]) {
    await t.test(scenario.name, async (t) => {
      const [left, right] = await Promise.all(
        [qemu, qmemd].map(async (program) => {
          const server = await startServer(program, scenario.options);
          t.teardown(() => server.stop());
          return server;
        }) as [Promise<Server>, Promise<Server>],
      );
      t.strictSame(await run(scenario, [left, right]), []);
    });
  }
});

t.test('every tolerated difference was seen', { skip }, async (t) => {
  const unseen = tolerated.filter((row) => !used.has(row)).map((row) => row.what);
  t.strictSame(unseen, []);
});

t.test('what a tolerated difference cites from docs/differences.md is there', async (t) => {
  const table = readFileSync(new URL('../../docs/differences.md', import.meta.url), 'utf8');
  const cited = tolerated.flatMap(({ see }) => /^docs\/differences\.md (.*)/.exec(see)?.[1] ?? []);
  t.strictSame(
    cited.filter((row) => !table.includes(`| ${row} |`)),
    [],
  );
});

t.test('enough is asked: errors, changes of state and made up requests', { skip }, async (t) => {
  t.comment(JSON.stringify(count));
  const enough = {
    requests: count.requests >= 250,
    errors: count.errors >= 60,
    afterChange: count.afterChange >= 40,
    generated: count.generated >= 40,
  };
  t.strictSame(enough, { requests: true, errors: true, afterChange: true, generated: true });
});
