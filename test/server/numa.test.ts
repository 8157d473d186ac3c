import t from 'tap';
import { NodeMemory } from '../../server/machine/node-memory.js';
import { NativeHostMemory } from '../../server/os/host-memory.js';
import { NativeLoader } from '../../server/os/native.js';
import { startMachine } from '../support/machine.js';

const MiB = 1n << 20n;
const ram = (id: string): string[] => ['-object', `memory-backend-ram,id=${id},size=64M`];
const BOARD = ['-M', 'q35,nvdimm=on', '-S', '-nodefaults', '-m', '128M,slots=4,maxmem=4G'];
const NODES = ['-numa', 'node,nodeid=1,memdev=r1', '-numa', 'node,nodeid=0,cpus=0-1,memdev=r0'];
const WORDS = [...BOARD, ...ram('r0'), ...ram('r1'), ...ram('m1'), ...ram('m2'), ...NODES];

const human = (line: string) => ['human-monitor-command', { 'command-line': line }] as const;

t.test('the backends of nodes are the memory of the machine, and busy', async (t) => {
  const { machine, run } = await startMachine(t, WORDS);
  const { memory } = machine.platform;
  const ids = (await run('query-memdev')) as { id: string }[];
  t.strictSame(ids.map(({ id }) => id).sort(), ['m1', 'm2', 'r0', 'r1'], 'no other memory');
  memory.write(64n * MiB - 4n, 8, 0x1122334455667788n);
  t.equal(memory.read(64n * MiB - 4n, 8), 0x1122334455667788n, 'across two nodes');
  t.equal(memory.read(64n * MiB, 4), 0x11223344n, 'node 1 comes second, though named first');
  await t.rejects(run('object-del', { id: 'r0' }), {
    message: "object 'r0' is in use, can not be deleted",
  });
  await t.rejects(run('device_add', { driver: 'pc-dimm', id: 'd', memdev: 'r1' }), {
    message: "can't use already busy memdev: r1",
  });
});

t.test('an nvdimm can be hot-plugged, is listed with its node, and stays', async (t) => {
  const { run, events } = await startMachine(t, WORDS);
  await run('device_add', { driver: 'nvdimm', id: 'n1', memdev: 'm1', node: 1n });
  t.strictSame(await run('query-memory-devices'), [
    {
      type: 'nvdimm',
      data: {
        id: 'n1',
        addr: 4294967296n,
        size: 64n * MiB,
        slot: 0n,
        node: 1n,
        memdev: '/objects/m1',
        hotplugged: true,
        hotpluggable: true,
      },
    },
  ]);
  t.equal(
    await run(...human('info memory-devices')),
    [
      'Memory device [nvdimm]: "n1"',
      '  addr: 0x100000000',
      '  slot: 0',
      '  node: 1',
      '  size: 67108864',
      '  memdev: /objects/m1',
      '  hotplugged: true',
      '  hotpluggable: true',
      '',
    ].join('\r\n'),
  );
  t.equal(
    await run(...human('info memory_size_summary')),
    'base memory: 134217728\r\nplugged memory: 67108864\r\n',
  );
  await t.rejects(run('device_del', { id: 'n1' }), {
    message: 'nvdimm device hot unplug is not supported yet.',
  });
  await t.rejects(run('device_add', { driver: 'nvdimm', id: 'n2', memdev: 'm2', node: 2n }), {
    message: "'DIMM property node has value 2' which exceeds the number of numa nodes: 2",
  });
  t.strictSame(events, []);
});

t.test('info numa tells what each node has, and what was plugged', async (t) => {
  const { run } = await startMachine(t, [...WORDS, '-device', 'pc-dimm,id=d1,memdev=m1,node=1']);
  t.equal(
    await run(...human('info numa')),
    [
      '2 nodes',
      'node 0 cpus:',
      'node 0 size: 64 MB',
      'node 0 plugged: 0 MB',
      'node 1 cpus:',
      'node 1 size: 128 MB',
      'node 1 plugged: 64 MB',
      '',
    ].join('\r\n'),
  );
  const none = await startMachine(t, ['-M', 'q35', '-nodefaults']);
  t.equal(await none.run(...human('info numa')), '0 nodes\r\n');
  const slots = await startMachine(t, BOARD);
  t.match(
    await slots.run(...human('info numa')),
    /^1 nodes\r\nnode 0 cpus:\r\nnode 0 size: 128 MB/,
  );
});

t.test('what cannot be a node is refused with the words of QEMU', async (t) => {
  for (const [words, message] of [
    [['-numa', 'node,memdev=no'], '-numa node,memdev=no: memdev=no is ambiguous'],
    [
      [...ram('r0'), '-numa', 'node,memdev=r0'],
      'total memory for NUMA nodes (0x4000000) should equal RAM size (0x8000000)',
    ],
    [
      [...ram('r0'), '-numa', 'node,memdev=r0', '-numa', 'node,memdev=r0'],
      "memory backend r0 can't be used multiple times.",
    ],
    [['-numa', 'node,nodeid=1'], 'numa: Node ID missing: 0'],
    [['-numa', 'node,nodeid=128'], '-numa node,nodeid=128: Max number of NUMA nodes reached: 128'],
    [
      ['-numa', 'node,nodeid=0', '-numa', 'node,nodeid=0'],
      '-numa node,nodeid=0: Duplicate NUMA nodeid: 0',
    ],
    [['-numa', 'bogus'], "-numa bogus: Parameter 'type' does not accept value 'bogus'"],
    [['-numa', 'node,nodeid=x'], "-numa node,nodeid=x: Parameter 'nodeid' expects a uint64 value"],
    [['-numa', 'node,no=1'], "-numa node,no=1: Invalid parameter 'no'"],
    [['-numa', 'node,mem=1'], /^-numa node,mem=1: Parameter -numa node,mem is not supported/],
    [['-M', 'none', '-numa', 'node'], '-numa node: NUMA is not supported by this machine-type'],
  ] as const)
    await t.rejects(startMachine(t, words), { message }, words.join(' '));
});

t.test('memory of several parts is read, written and watched as one', async (t) => {
  const host = new NativeHostMemory(new NativeLoader());
  const part = () => {
    const mapping = host.anonymous({ size: 4096n, share: false, name: 'part' });
    t.teardown(() => mapping.close());
    return mapping;
  };
  const memory = new NodeMemory([part(), part(), part()]);
  t.equal(memory.size, 12288n);
  const seen: [bigint, number][] = [];
  const end = memory.onWrite((offset, len) => void seen.push([offset, len]));
  const bytes = Buffer.alloc(4100, 7);
  t.equal(memory.write(4094n, bytes), true);
  t.strictSame(seen, [
    [4094n, 2],
    [4096n, 4096],
    [8192n, 2],
  ]);
  const back = Buffer.alloc(4100);
  t.equal(memory.read(4094n, back), true);
  t.equal(back.equals(bytes), true);
  memory.writeInt(8190n, 4, 0xaabbccddn);
  t.equal(memory.readInt(8190n, 4), 0xaabbccddn);
  t.equal(memory.readInt(8192n, 2), 0xaabbn);
  memory.writeInt(0n, 8, 5n);
  t.equal(memory.readInt(0n, 8), 5n);
  end();
  memory.writeInt(0n, 1, 1n);
  t.strictSame(seen.at(-1), [0n, 8], 'nobody watches any more');
  t.throws(() => memory.readInt(12285n, 4), RangeError);
});
