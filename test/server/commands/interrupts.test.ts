import t from 'tap';
import { startMachine } from '../../support/machine.js';

const SLOT = 5;

t.test('query-interrupts counts what a device raised, by vector', async (t) => {
  const { run, config, machine } = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', '-object', 'memory-backend-ram,id=m1,size=1M'],
    ...['-device', 'edu,id=e,addr=5', '-device', 'ivshmem-plain,id=iv,memdev=m1'],
    ...['-device', 'pcie-root-port,id=rp,chassis=1'],
  ]);
  const raise = (register = 0x60): Promise<unknown> =>
    run('guest-mmio-write', { id: 'e', bar: 0n, offset: BigInt(register), size: 4n, value: 1n });
  const edu = async () => (await run('query-interrupts', { id: 'e' })) as object[];
  const command = (value: number): void => config.write(0, SLOT, 0, 4, value, 2);
  const vector = (delivered: bigint, dropped: bigint, pending: boolean) => [
    { vector: 0, delivered, dropped, pending },
  ];
  const answer = (
    totals: { delivered: bigint; pending: number },
    intx: { enabled: boolean; vectors: object[] },
    msi: { enabled: boolean; vectors: object[] },
  ) => [
    {
      device: 'e',
      path: '/machine/peripheral/e',
      ...totals,
      sources: [
        { kind: 'intx', ...intx },
        { kind: 'msi', ...msi },
      ],
    },
  ];
  const unused = { enabled: false, vectors: [] };
  const idle = { enabled: true, vectors: [] };
  t.strictSame(await edu(), answer({ delivered: 0n, pending: 0 }, idle, unused));

  command(0x406);
  await raise();
  const kept = { enabled: false, vectors: vector(0n, 0n, true) };
  t.strictSame(await edu(), answer({ delivered: 0n, pending: 1 }, kept, unused));
  command(0x6);
  await raise(0x64);
  await raise();
  const risen = { enabled: true, vectors: vector(2n, 0n, false) };
  t.strictSame(await edu(), answer({ delivered: 2n, pending: 0 }, risen, unused));

  config.write(0, SLOT, 0, 0x42, 1, 2);
  config.write(0, SLOT, 0, 0x44, 0x2000);
  await raise();
  command(0x2);
  await raise();
  const sent = { enabled: true, vectors: vector(1n, 1n, false) };
  t.strictSame(await edu(), answer({ delivered: 3n, pending: 0 }, risen, sent));

  machine.reset();
  const after = { ...sent, enabled: false };
  t.strictSame(await edu(), answer({ delivered: 3n, pending: 0 }, risen, after), 'still known');
});

t.test('all devices that can interrupt are listed, one can be asked for', async (t) => {
  const { run } = await startMachine(t, [
    ...['-M', 'q35', '-nodefaults', '-object', 'memory-backend-ram,id=m1,size=1M'],
    ...['-device', 'ivshmem-plain,id=iv,memdev=m1', '-device', 'edu'],
    ...['-device', 'pcie-root-port,id=rp,chassis=1'],
  ]);
  const paths = ((await run('query-interrupts')) as { path: string; sources: { kind: string }[] }[])
    .filter(({ path }) => path.startsWith('/machine/peripheral'))
    .map(({ path, sources }) => [path, ...sources.map(({ kind }) => kind)]);
  t.strictSame(paths, [
    ['/machine/peripheral-anon/device[0]', 'intx', 'msi'],
    ['/machine/peripheral/rp', 'intx', 'msi-x'],
  ]);
  t.strictSame(await run('query-interrupts', { id: 'iv' }), [], 'it has no way to');
  await t.rejects(run('query-interrupts', { id: 'nobody' }), /Device 'nobody' not found/);
});
