import t from 'tap';
import { startMachine, type TestMachine } from '../support/machine.js';

const WORDS = [
  ...['-M', 'q35', '-S', '-nodefaults', '-name', 'box'],
  ...['-object', 'memory-backend-ram,id=m1,size=1M'],
  ...['-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=1.0'],
  ...['-device', 'ivshmem-plain,id=iv1,memdev=m1,bus=rp1'],
];
const line = async ({ run }: TestMachine, text: string): Promise<string> =>
  (await run('human-monitor-command', { 'command-line': text })) as string;

t.test('the human monitor answers with lines that end in CR LF', async (t) => {
  const machine = await startMachine(t, WORDS);
  for (const [text, answer] of [
    ['', ''],
    ['   ', ''],
    ['info status', 'VM status: paused (prelaunch)\r\n'],
    ['  info   status  ', 'VM status: paused (prelaunch)\r\n'],
    ['info name', 'box\r\n'],
    ['info kvm', 'kvm support: not compiled\r\n'],
    ['nope', "unknown command: 'nope'\r\n"],
    ['nope a b', "unknown command: 'nope'\r\n"],
    ['info nope', "unknown command: 'info nope'\r\n"],
    ['help nope', "unknown command: 'nope'\r\n"],
    ['help info nope', "unknown command: 'info nope'\r\n"],
    ['device_del zz', "Error: Device 'zz' not found\r\n"],
    ['device_add', "Error: Parameter 'driver' is missing\r\n"],
    ['device_add nosuch', "Error: 'nosuch' is not a valid device model name\r\n"],
    ['object_del m1', "Error: object 'm1' is in use, can not be deleted\r\n"],
    ['object_del', 'object_del: string expected\r\nTry "help object_del" for more information\r\n'],
    [
      's x',
      'stop|s: extraneous characters at the end of line\r\nTry "help s" for more information\r\n',
    ],
    [
      'info version x',
      'version: extraneous characters at the end of line\r\nTry "help info version" for more information\r\n',
    ],
    ['qom-list', '/\r\n'],
    [
      'qom-list /objects',
      'type (string)\r\nm1 (child<memory-backend-ram>)\r\npc.ram (child<memory-backend-ram>)\r\n',
    ],
    ['qom-get /objects/m1 size', '1048576\r\n'],
    ['qom-get /objects/m1 policy', '"default"\r\n'],
    ['qom-get /nope size', "Error: Device '/nope' not found\r\n"],
    [
      'info qom-tree /objects',
      '/objects (container)\r\n  /m1 (memory-backend-ram)\r\n  /pc.ram (memory-backend-ram)\r\n',
    ],
    ['info qom-tree /nope', "Path '/nope' could not be resolved.\r\n"],
    ['object_add memory-backend-ram,id=m2,size=1X', "Error: Parameter 'size' expects size\r\n"],
    ['object_add memory-backend-ram,id=m2,size=2M', ''],
    ['object_add {"qom-type": "memory-backend-ram", "id": "m3", "size": 4096}', ''],
    ['qom-get m2 size', '2097152\r\n'],
    ['qom-set m2 merge off', ''],
    ['qom-get m2 merge', 'false\r\n'],
    ['qom-set -j m2 merge true', ''],
    ['qom-get m2 merge', 'true\r\n'],
    ['qom-set m2 merge maybe', "Error: Parameter 'merge' expects 'on' or 'off'\r\n"],
    ['qom-set /machine guest-policy accept', ''],
    ['qom-get /machine guest-policy', '"accept"\r\n'],
    ['qom-set m2', 'qom-set: string expected\r\nTry "help qom-set" for more information\r\n'],
    ['object_del m2', ''],
    ['object_del m3', ''],
    ['chardev-add null,id=c1', ''],
    ['info chardev', 'c1: filename=null\r\n'],
    [
      'chardev-add null,id=c1',
      "Error: attempt to add duplicate property 'c1' to object (type 'container')\r\n",
    ],
    ['chardev-add stdio,id=c2', "Error: 'stdio' is for the command line only\r\n"],
    [
      'chardev-add socket,id=c2,fd=3',
      "Error: 'fd' is for the command line and chardev-add of QMP\r\n",
    ],
    ['chardev-remove c1', ''],
    ['chardev-remove c1', "Error: Chardev 'c1' not found\r\n"],
    ['getfd x', 'Error: No file descriptor supplied via SCM_RIGHTS\r\n'],
    ['closefd x', "Error: File descriptor named 'x' not found\r\n"],
    ['cont', ''],
    ['info status', 'VM status: running\r\n'],
    ['s', ''],
    ['info status', 'VM status: paused\r\n'],
  ] as const)
    t.equal(await line(machine, text), answer, `'${text}'`);
});

t.test('info without a subcommand explains each in a line of two words and more', async (t) => {
  const machine = await startMachine(t, WORDS);
  const help = await line(machine, 'info');
  t.equal(help, await line(machine, 'help info'));
  const lines = help.split('\r\n').filter((text) => text !== '');
  t.equal(lines.length > 8, true);
  for (const text of lines) t.match(text, /^info \S+ .*-- \S/);
  t.match(await line(machine, 'help'), /^stop\|s {2}-- /m);
});

t.test('info pci, qtree, memdev and mtree have the layout of QEMU', async (t) => {
  const machine = await startMachine(t, WORDS);
  t.match(
    await line(machine, 'info pci'),
    [
      '  Bus  0, device   1, function 0:',
      '    PCI bridge: PCI device 1b36:000c',
      '      IRQ 0, pin A',
      '      BUS 0.',
      '      secondary bus 0.',
      '      subordinate bus 0.',
      '      IO range [0xf000, 0x0fff]',
      '      memory range [0xfff00000, 0x000fffff]',
      '      prefetchable memory range [0xfff00000, 0x000fffff]',
      '      BAR0: 32 bit memory at 0xffffffffffffffff [0x00000ffe].',
      '      id "rp1"',
      '',
    ].join('\r\n'),
  );
  t.match(
    await line(machine, 'info qtree'),
    [
      '            class RAM controller, addr 00:00.0, pci id 1af4:1110 (sub 1af4:1100)',
      '            bar 0: mem at 0xffffffffffffffff [0xfe]',
      '            bar 2: mem at 0xffffffffffffffff [0xffffe]',
      '',
    ].join('\r\n'),
  );
  t.match(await line(machine, 'info qtree'), '          dev: ivshmem-plain, id "iv1"\r\n');
  t.match(
    await line(machine, 'info memdev'),
    [
      'memory backend: m1',
      '  size:  1048576',
      '  merge: true',
      '  dump: true',
      '  prealloc: false',
      '  share: false',
      '  reserve: true',
      '  policy: default',
      '  host nodes: ',
      '',
    ].join('\r\n'),
  );
  const tree = await line(machine, 'info mtree');
  t.match(tree, '  0000000000000000-ffffffffffffffff (prio 0, i/o): system\r\n');
  t.match(
    tree,
    '    0000000000000000-0000000007ffffff (prio 0, ram): alias ram-below-4g @pc.ram 0000000000000000-0000000007ffffff\r\n',
  );
});

t.test('info mtree takes the switches of QEMU', async (t) => {
  const machine = await startMachine(t, WORDS);
  const flat = await line(machine, 'info mtree -f');
  t.match(flat, /^FlatView #0\r\n AS "memory", root: system\r\n Root memory region: system\r\n/);
  t.match(flat, '  0000000000100000-0000000007ffffff (prio 0, ram): pc.ram @0000000000100000\r\n');
  t.match(flat, '\r\nFlatView #1\r\n AS "I/O", root: io\r\n');
  t.equal(await line(machine, 'info mtree -f -d -o'), flat);
  const [first] = machine.machine.platform.memory.root.subregions;
  if (first !== undefined) first.region.enabled = false;
  const all = await line(machine, 'info mtree -D');
  t.equal(all.includes(' [disabled]\r\n'), true);
  t.equal((await line(machine, 'info mtree')).includes('[disabled]'), false);
  const more = 'Try "help info mtree" for more information\r\n';
  t.equal(await line(machine, 'info mtree -x'), `mtree: unsupported option -x\r\n${more}`);
  for (const bad of ['foo', '-fd', '-'])
    t.equal(
      await line(machine, `info mtree ${bad}`),
      `mtree: extraneous characters at the end of line\r\n${more}`,
    );
});

t.test('a CPU that is not there is refused', async (t) => {
  const { run } = await startMachine(t, WORDS);
  const args = { 'command-line': 'info status', 'cpu-index': 5n };
  await t.rejects(run('human-monitor-command', args), {
    message: "Parameter 'cpu-index' expects a CPU number",
  });
  t.equal(
    await run('human-monitor-command', { ...args, 'cpu-index': 0n }),
    'VM status: paused (prelaunch)\r\n',
  );
});

t.test('info chardev lists character devices', async (t) => {
  const machine = await startMachine(t, WORDS);
  t.equal(await line(machine, 'info chardev'), '');
  await machine.run('chardev-add', { id: 'c0', backend: { type: 'null', data: {} } });
  t.equal(await line(machine, 'info chardev'), 'c0: filename=null\r\n');
});
