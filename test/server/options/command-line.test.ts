import t from 'tap';
import { parseCommandLine, type Options } from '../../../server/options/command-line.js';
import { HELP } from '../../../server/options/help.js';
import { UNUSED_OPTIONS } from '../../../server/options/unused.js';

const run = (...words: string[]): Options => {
  const invocation = parseCommandLine(words);
  if (invocation.kind !== 'run') throw new Error(`${invocation.kind} was asked for`);
  return invocation.options;
};
const machine = (...words: string[]) => {
  const [only] = run(...words).machines;
  if (only === undefined) throw new Error('no machine');
  return only;
};
const problem = (message: string) => ({ name: 'CommandLineError', message });

t.test('the command line of the seed is understood', async (t) => {
  const options = run(
    ...['-M', 'q35', '-qmp', 'unix:/tmp/qmp.sock,server=on,wait=off'],
    ...['-m', '4G', '-enable-kvm', '-cpu', 'host', '-smp', '4', '-nographic'],
    ...['-device', 'dyanmic-mdevice,size=0x200000000,align=0x40000000,mem-path=/dev/mdev'],
  );
  const [only] = options.machines;
  t.equal(only?.kind, 'q35');
  t.equal(only?.ramSize, 4n << 30n);
  t.strictSame(only?.monitors, [
    {
      origin: '-qmp unix:/tmp/qmp.sock,server=on,wait=off',
      endpoint: { kind: 'unix-listen', path: '/tmp/qmp.sock', wait: false },
      pretty: false,
    },
  ]);
  t.strictSame(only?.devices, [
    {
      origin: '-device dyanmic-mdevice,size=0x200000000,align=0x40000000,mem-path=/dev/mdev',
      form: 'text',
      values: [
        ['driver', 'dyanmic-mdevice'],
        ['size', '0x200000000'],
        ['align', '0x40000000'],
        ['mem-path', '/dev/mdev'],
      ],
    },
  ]);
});

t.test(
  'without options there is a pc machine, stopped by nothing and heard by nobody',
  async (t) => {
    const options = run();
    t.match(machine(), {
      name: 'default',
      kind: 'pc',
      paused: false,
      defaults: true,
      monitors: [],
    });
    t.equal(machine().ramSize, 128n << 20n);
    t.equal(machine().guestPolicy, 'manual');
    t.match(options, { listen: undefined, logLevel: 'warn', demo: false, daemonize: false });
  },
);

t.test('what libvirt passes when it probes and starts a domain is accepted', async (t) => {
  const probe = run(
    ...['-S', '-no-user-config', '-nodefaults', '-nographic', '-machine', 'none,accel=kvm:tcg'],
    ...['-qmp', 'unix:DIR/qmp.monitor,server=on,wait=off', '-pidfile', 'DIR/qmp.pid', '-daemonize'],
  );
  t.match(probe, { daemonize: true, pidfile: 'DIR/qmp.pid' });
  t.match(probe.machines[0], { kind: 'none', paused: true, defaults: false });
  const domain = run(
    ...['-name', 'guest=vm,debug-threads=on', '-S'],
    ...['-object', '{"qom-type":"secret","id":"masterKey0","format":"raw","file":"/key.aes"}'],
    ...['-machine', 'pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram,nvdimm=on'],
    ...['-accel', 'tcg', '-cpu', 'qemu64', '-m', 'size=262144k,slots=8,maxmem=2097152k'],
    ...['-object', '{"qom-type":"memory-backend-ram","id":"pc.ram","size":268435456}'],
    ...['-overcommit', 'mem-lock=off', '-smp', '1,maxcpus=2', '-numa', 'node,nodeid=0'],
    ...['-uuid', '0F2C1B5A-7D3E-4B60-8F7A-1C2D3E4F5061', '-display', 'none', '-no-user-config'],
    ...['-nodefaults', '-chardev', 'socket,id=charmonitor,fd=30,server=on,wait=off'],
    ...['-mon', 'chardev=charmonitor,id=monitor,mode=control', '-rtc', 'base=utc'],
    ...['-no-shutdown', '-no-acpi', '-boot', 'strict=on'],
    ...['-device', '{"driver":"pcie-root-port","port":8,"multifunction":true,"addr":"0x1"}'],
    ...['-chardev', 'pty,id=charserial0', '-serial', 'chardev:charserial0'],
    ...['-audiodev', '{"id":"audio1","driver":"none"}', '-sandbox', 'off', '-msg', 'timestamp=on'],
  );
  const [only] = domain.machines;
  t.match(only, { name: 'vm', kind: 'q35', ramBackend: 'pc.ram', ramSize: 1n << 28n });
  t.equal(only?.uuid, '0f2c1b5a-7d3e-4b60-8f7a-1c2d3e4f5061');
  t.strictSame(only?.monitors, [
    {
      origin: '-chardev socket,id=charmonitor,fd=30,server=on,wait=off',
      label: 'charmonitor',
      endpoint: { kind: 'unix-fd', fd: 30, listening: true, wait: false },
      pretty: false,
    },
  ]);
  t.strictSame(
    only?.objects.map((object) => (object.form === 'json' ? object.values['id'] : object.origin)),
    ['masterKey0', 'pc.ram'],
  );
  t.match(only?.devices[0], { form: 'json', values: { driver: 'pcie-root-port', port: 8n } });
});

t.test('machine names of every version mean the same two boards', async (t) => {
  for (const [name, kind] of [
    ['none', 'none'],
    ['pc', 'pc'],
    ['q35', 'q35'],
    ['pc-i440fx-2.4', 'pc'],
    ['pc-i440fx-11.0', 'pc'],
    ['pc-q35-7.2', 'q35'],
    ['type=pc-q35-10.2', 'q35'],
  ] as const)
    t.equal(machine('-M', name).kind, kind, name);
});

t.test('repeated -machine options merge, the last value of a property counting', async (t) => {
  const merged = machine('-M', 'q35,guest-policy=reject', '-machine', 'cxl=on,guest-policy=accept');
  t.match(merged, { kind: 'q35', guestPolicy: 'accept' });
  t.equal(machine('-M', 'q35', '-M', 'cxl-fmw.0.targets.0=cxl.1,cxl-fmw.0.size=4G').kind, 'q35');
});

t.test('sizes of -m follow QEMU: MiB by default, suffixes, 0 for the default', async (t) => {
  for (const [text, bytes] of [
    ['256', 256n << 20n],
    ['1.5G', 3n << 29n],
    ['size=4096k', 4n << 20n],
    ['0', 128n << 20n],
    ['1k', 8192n],
    ['1G,slots=4,maxmem=8G', 1n << 30n],
    ['slots=4,maxmem=8G', 128n << 20n],
  ] as const)
    t.equal(machine('-m', text).ramSize, bytes, text);
  for (const words of [
    ['-m', '1G,slots=256,maxmem=2G', '-M', 'q35'],
    ['-m', '1G,slots=257,maxmem=2G', '-M', 'none'],
    ['-m', '1G,slots=0,maxmem=1G'],
  ])
    t.ok(machine(...words), words.join(' '));
});

t.test('the accelerator qtest takes over the clock, others mean nothing', async (t) => {
  t.equal(run('-accel', 'qtest').machines[0]?.clock, 'client');
  t.equal(run('-M', 'q35,accel=qtest').machines[0]?.clock, 'client');
  t.equal(run('-accel', 'tcg,thread=single').machines[0]?.clock, 'host');
});

t.test('monitors: listening waits by default, short forms, two steps, pretty', async (t) => {
  const listen = (path: string, wait: boolean) => ({ kind: 'unix-listen', path, wait });
  for (const [text, endpoint] of [
    ['unix:/a,server=on', listen('/a', true)],
    ['unix:/a,server', listen('/a', true)],
    ['unix:/a,server,nowait', listen('/a', false)],
    ['unix:path=/a,server=on,wait=off', listen('/a', false)],
    ['unix:/a,,b,server=on', listen('/a,b', true)],
    ['unix:/a', { kind: 'unix-connect', path: '/a' }],
    ['unix:/a,reconnect=1', { kind: 'unix-connect', path: '/a', reconnectMs: 1000 }],
    ['stdio', { kind: 'stdio' }],
  ] as const)
    t.strictSame(
      machine('-qmp', text).monitors,
      [{ origin: `-qmp ${text}`, endpoint, pretty: false }],
      text,
    );
  t.equal(machine('-qmp-pretty', 'stdio').monitors[0]?.pretty, true);
  t.strictSame(
    machine(
      '-mon',
      'c,mode=control,pretty=on',
      '-chardev',
      'socket,id=c,path=/p,server=on,wait=off',
    ).monitors,
    [
      {
        origin: '-chardev socket,id=c,path=/p,server=on,wait=off',
        label: 'c',
        endpoint: listen('/p', false),
        pretty: true,
      },
    ],
    'the chardev may come later',
  );
  t.strictSame(machine('-chardev', 'stdio,id=c', '-mon', 'c').monitors, [], 'a human monitor');
  t.strictSame(machine('-chardev', 'stdio,id=c', '-qmp', 'chardev:c').monitors, [
    { origin: '-chardev stdio,id=c', label: 'c', endpoint: { kind: 'stdio' }, pretty: false },
  ]);
});

t.test('objects and devices keep their order, in both forms', async (t) => {
  const only = machine(
    ...['-device', "{'driver':'edu','id':'it\\'s'}", '-device', 'edu,id=b,addr=2.0,romfile='],
    ...['-object', 'memory-backend-file,id=m,size=1.5M,mem-path=/a,,b,share=on,host-nodes.0=1'],
    ...['-object', '{"qom-type":"memory-backend-ram","id":"n","size":18446744073709551615}'],
  );
  t.strictSame(
    only.devices.map(({ form }) => form),
    ['json', 'text'],
  );
  t.strictSame(only.devices[1]?.values, [
    ['driver', 'edu'],
    ['id', 'b'],
    ['addr', '2.0'],
    ['romfile', ''],
  ]);
  t.strictSame(
    only.objects.map(({ values }) => ({ ...values })),
    [
      {
        'qom-type': 'memory-backend-file',
        id: 'm',
        size: 3n << 19n,
        'mem-path': '/a,b',
        share: true,
        'host-nodes': [1n],
      },
      { 'qom-type': 'memory-backend-ram', id: 'n', size: (1n << 64n) - 1n },
    ],
  );
});

t.test('globals come in two notations', async (t) => {
  t.strictSame(
    machine(
      ...['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'],
      ...['-global', 'driver=edu,property=x,value=a,,b'],
    ).globals,
    [
      { driver: 'ICH9-LPC', property: 'acpi-pci-hotplug-with-bridge-support', value: 'off' },
      { driver: 'edu', property: 'x', value: 'a,b' },
    ],
  );
});

t.test('our own options', async (t) => {
  const options = run(
    ...['--listen', '127.0.0.1:0', '--log-level', 'debug', '--limit', 'clients=3', '--demo'],
    ...['-D', '/log', '-run-with', 'exit-with-parent=on', '--preconfig', '-incoming', 'defer'],
    ...['-qtest', 'unix:/q', '-qtest-log', '/dev/null'],
  );
  t.match(options, {
    listen: { host: '127.0.0.1', port: 0 },
    logLevel: 'debug',
    logFile: '/log',
    demo: true,
    exitWithParent: true,
    preconfig: true,
    incoming: 'defer',
    machines: [
      { qtest: { endpoint: { kind: 'unix-connect', path: '/q' }, log: { path: '/dev/null' } } },
    ],
  });
  t.equal(options.limits.clients, 3);
  t.strictSame(run('--listen', '[::1]:7710').listen, { host: '::1', port: 7710 });
});

t.test('options that print stop the reading where they stand', async (t) => {
  for (const [word, kind] of [
    ['-h', 'help'],
    ['--help', 'help'],
    ['-version', 'version'],
    ['--version', 'version'],
    ['--print-reference', 'print-reference'],
  ] as const)
    t.strictSame(parseCommandLine([word, '-foo']), { kind }, word);
  t.match(HELP, /--listen HOST:PORT/);
});

t.test('every option without effect takes as many words as in QEMU', async (t) => {
  for (const [name, hasArgument] of Object.entries(UNUSED_OPTIONS)) {
    const words = hasArgument ? [`-${name}`, '-whatever'] : [`-${name}`];
    t.strictSame(run(...words), { ...run(), given: new Set([name]) }, name);
    if (hasArgument) t.throws(() => run(`-${name}`), problem(`-${name}: requires an argument`));
  }
});
