import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { privateFolder, startDaemon, type Cleanup } from '../support/daemon.js';
import type { Qmp } from '../support/qmp.js';
import { randomCommand, type RandomCommand } from '../support/random-commands.js';

/** Sequences for one machine; `npm run soak` asks for more. */
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 100);
const LENGTH = 40;

const WORDS = [
  ...['-device', 'pcie-root-port,id=rp1,chassis=1'],
  ...['-object', 'memory-backend-ram,id=m0,size=1M'],
  ...['-object', 'memory-backend-memfd,id=m1,size=64K'],
  ...['-device', 'dynamic-mdevice,id=d0,size=64M,align=4K,mem-path=/dev/zero'],
];

/** Memory of the daemon that a backend of a random size could really fill is not asked for. */
const isHarmless = ({ arguments: args }: RandomCommand): boolean => args['prealloc'] !== true;

/** Names of the commands that succeeded at least once. */
const succeeded = new Set<string>();

/** Random file names land in a folder of their own. */
const goAside = (t: Cleanup): void => {
  const before = process.cwd();
  process.chdir(privateFolder(t));
  t.teardown(() => process.chdir(before));
};

const play = async (qmp: Qmp, commands: readonly RandomCommand[]): Promise<void> => {
  for (const { execute, arguments: args } of commands) {
    try {
      await qmp.execute(execute, args);
      succeeded.add(execute);
    } catch (error) {
      const { class: errorClass, message } = error as { class?: string; message: string };
      if (errorClass === undefined) throw error;
      if (message.startsWith('internal error'))
        throw new Error(`${execute}: ${message}`, { cause: error });
    }
  }
};

/** Puts back what earlier commands may have removed. */
const restore = async (qmp: Qmp): Promise<void> => {
  const device = { driver: 'dynamic-mdevice', id: 'd0', size: 64n << 20n, align: 4096n };
  const backend = { 'qom-type': 'memory-backend-ram', id: 'm0', size: 1n << 20n };
  await play(qmp, [
    { execute: 'device_add', arguments: { ...device, 'mem-path': '/dev/zero' } },
    { execute: 'object-add', arguments: backend },
    { execute: 'device_add', arguments: { driver: 'ivshmem-plain', id: 'd1', memdev: 'm0' } },
    { execute: 'cont', arguments: {} },
  ]);
};

for (const machine of ['q35', 'pc,guest-policy=accept'])
  t.test(
    `random commands never end a ${machine} machine, and every failure is a refusal`,
    async (t) => {
      goAside(t);
      const { qmp } = await startDaemon(t, ['-M', machine, ...WORDS]);
      await fc.assert(
        fc.asyncProperty(
          fc.array(randomCommand.filter(isHarmless), { maxLength: LENGTH }),
          async (commands) => {
            await restore(qmp);
            await play(qmp, commands);
          },
        ),
        { numRuns: RUNS },
      );
      t.match(await qmp.execute('query-name'), {});
    },
  );

t.test('what random commands made is given back at the end', async (t) => {
  goAside(t);
  const openFiles = () => readdirSync('/proc/self/fd').length;
  const shared = () =>
    readFileSync('/proc/self/maps', 'utf8')
      .split('\n')
      .filter((line) => /memfd:|\/dev\/zero/.test(line)).length;
  const [files, maps] = [openFiles(), shared()];
  const { qmp, daemon } = await startDaemon(t, ['-M', 'pc,guest-policy=accept', ...WORDS]);
  for (const commands of fc.sample(
    fc.array(randomCommand.filter(isHarmless), { maxLength: LENGTH }),
    10,
  ))
    await play(qmp, commands);
  qmp.close();
  await daemon.stop();
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(shared(), maps, 'nothing is mapped');
  t.equal(openFiles() <= files + 1, true, 'nothing is open');
});

t.test('the random commands were not all refused', async (t) => {
  t.comment([...succeeded].sort().join(' '));
  t.equal(succeeded.size >= 30, true, `${String(succeeded.size)} commands succeeded`);
});
