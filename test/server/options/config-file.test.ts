import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRequire } from 'node:module';
import type * as AjvModule from 'ajv';
import t from 'tap';
import { withConfigFile } from '../../../server/options/config-file.js';
import { configJsonSchema } from '../../../server/options/config-schema.js';
import {
  optionsOf,
  readConfig as read,
  second as one,
  startConfig as start,
} from '../../support/config.js';
import { eventually, privateFolder } from '../../support/daemon.js';
import { Qmp } from '../../support/qmp.js';
import { Qtest } from '../../support/qtest.js';

t.test('a file is read into machines, limits and the address', async (t) => {
  const given = read(t, {
    'log-level': 'error',
    limits: { clients: 3 },
    machines: [
      { name: 'a', machine: 'q35,guest-policy=accept', memory: '1G', paused: true },
      { name: 'b', 'guest-policy': 'reject', defaults: false, globals: ['pcie-root-port.port=1'] },
    ],
  });
  t.match(given, {
    listen: { host: '127.0.0.1', port: 7710 },
    logLevel: 'error',
    limits: { clients: 3, 'json-depth': 1024 },
    machines: [
      { name: 'a', guestName: 'a', kind: 'q35', ramSize: 1n << 30n, guestPolicy: 'accept' },
      { name: 'b', kind: 'pc', guestPolicy: 'reject', defaults: false, globals: [{ value: '1' }] },
    ],
  });
  t.strictSame(
    given.machines.map(({ paused }) => paused),
    [true, false],
  );
  const words = ['--listen', '127.0.0.1:0', '--limit', 'clients=9', '--log-level', 'info'];
  t.match(read(t, { limits: { clients: 3 }, machines: [{ name: 'a' }] }, words), {
    listen: { port: 0 },
    logLevel: 'info',
    limits: { clients: 9 },
  });
  t.equal(read(t, { listen: '', machines: [{ name: 'a' }] }).listen, undefined);
});

t.test('a mistake is told with its place in the file', async (t) => {
  for (const [content, text] of [
    ['{"machines": [', /c\.json: line 1, column 15: a value is expected, not the end of the file$/],
    ['{\n  "machines": [,]\n}\n', /c\.json: line 2, column 16: a value is expected, not ','$/],
    [[], /c\.json: an object is expected$/],
    [{}, /c\.json: Parameter 'machines' is missing$/],
    [{ machines: [] }, /c\.json: machines: one machine at least is expected$/],
    [{ machines: [{ name: 'a' }], x: 1 }, /c\.json: Parameter 'x' is unexpected$/],
    [{ machines: [{}] }, /c\.json: machines\[0\]: Parameter 'name' is missing$/],
    [{ machines: [7] }, /c\.json: machines\[0\]: an object is expected$/],
    [one({ name: 'a' }), /c\.json: machines\[1\]\.name: 'a' is taken by machines\[0\]\.name$/],
    [one({ name: 'a b' }), /machines\[1\]\.name: 'a b' is not 1 to 64 letters/],
    [one({ name: 'x'.repeat(65) }), /machines\[1\]\.name: /],
    [one({ colour: 1 }), /machines\[1\]: Parameter 'colour' is unexpected$/],
    [one({ machine: 'virt' }), /machines\[1\]\.machine: unsupported machine type 'virt'/],
    [one({ memory: '1x' }), /machines\[1\]\.memory: Parameter 'size' expects/],
    [one({ memory: 1 }), /machines\[1\]: Invalid parameter type for 'memory', expected: string$/],
    [one({ uuid: 'x' }), /machines\[1\]\.uuid: failed to parse UUID/],
    [one({ 'guest-policy': 'no' }), /machines\[1\]: Parameter 'guest-policy' does not accept/],
    [one({ machine: 'help' }), /machines\[1\]\.machine: unsupported machine type 'help'/],
    [one({ machine: 'q35,help' }), /machines\[1\]\.machine: Expected '=' after parameter 'help'/],
    [one({ globals: ['x'] }), /machines\[1\]\.globals\[0\]: /],
    [
      one({ devices: [{ driver: 'pcie-root-port' }, {}] }),
      /machines\[1\]\.devices\[1\]: Parameter/,
    ],
    [one({ devices: [3] }), /machines\[1\]\.devices\[0\]: an object is expected$/],
    [
      one({ objects: [{ id: 'x' }] }),
      /machines\[1\]\.objects\[0\]: Parameter 'qom-type' is missing/,
    ],
    [one({ monitors: [{}] }), /machines\[1\]\.monitors\[0\]: Parameter 'path' is missing$/],
    [one({ monitors: [{ path: 'x'.repeat(108) }] }), /monitors\[0\]\.path: .* 107 bytes/],
    [
      one({ monitors: [{ path: '/s' }, { path: '/s' }] }),
      /machines\[1\]\.monitors\[1\]\.path: '\/s' is taken by machines\[1\]\.monitors\[0\]\.path$/,
    ],
    [one({ qtest: {} }), /machines\[1\]\.qtest: Parameter 'path' is missing$/],
    [one({ qtest: null }), /machines\[1\]\.qtest: an object is expected$/],
    [one({ qtest: { path: '' } }), /machines\[1\]\.qtest\.path: a path is expected$/],
    [
      one({ monitors: [{ path: '/s' }], qtest: { path: '/s' } }),
      /machines\[1\]\.qtest\.path: '\/s' is taken by machines\[1\]\.monitors\[0\]\.path$/,
    ],
    [
      { machines: [{ name: 'a' }], limits: { clients: 0 } },
      /c\.json: limits\.clients: limit 'clients' takes an integer from 1 to 65536, not '0'$/,
    ],
    [{ machines: [{ name: 'a' }], limits: { clients: '5' } }, /limits\.clients: .*, not '"5"'$/],
    [{ machines: [{ name: 'a' }], limits: { clients: 5.5 } }, /limits\.clients: .*, not '5\.5'$/],
    [{ machines: [{ name: 'a' }], limits: { clients: [5] } }, /limits\.clients: .*, not '\[5\]'$/],
    [{ machines: [{ name: 'a' }], limits: null }, /c\.json: limits: an object is expected$/],
    [{ machines: [{ name: 'a' }], limits: [] }, /c\.json: limits: an object is expected$/],
    [{ machines: [{ name: 'a' }], limits: { x: 1 } }, /c\.json: limits\.x: limit 'x' is not known/],
    [{ machines: [{ name: 'a' }], listen: 'x' }, /listen: 'x' is not HOST:PORT/],
    [{ machines: [{ name: 'a' }], 'log-level': 'x' }, /'log-level' does not accept value 'x'/],
  ] as const)
    t.throws(() => read(t, content), { message: text }, String(text));
  t.throws(() => withConfigFile(optionsOf([]), '/no/such'), {
    message: "--config /no/such: Failed to open '/no/such': No such file or directory",
  });
});

t.test('options of a machine do not go with a file', async (t) => {
  for (const words of [['-M', 'pc'], ['-device', 'x'], ['-S'], ['-qmp', 'stdio'], ['--demo']])
    t.throws(() => optionsOf(['--config', 'x', ...words]), {
      message: `-${words[0]?.replace(/^-+/, '') ?? ''}: with --config the machines are described in the file`,
    });
});

t.test('one bad machine refuses the file before anything is opened', async (t) => {
  const folder = privateFolder(t);
  const path = join(folder, 'a.sock');
  const machines = [
    { name: 'a', monitors: [{ path }] },
    { name: 'b', machine: 'q35', devices: [{ driver: 'nope' }] },
  ];
  const given = read(t, { listen: '127.0.0.1:0', machines });
  await t.rejects(start(t, given), {
    message: /c\.json: machines\[1\]\.devices\[0\]: 'nope' is not a valid device model name$/,
  });
  t.equal(existsSync(path), false);
});

t.test('what fails when a machine is built is told with its place in the file', async (t) => {
  const backend = { 'qom-type': 'memory-backend-ram', id: 'm', size: 4096 };
  for (const [machine, text] of [
    [
      { machine: 'q35,memory-backend=no' },
      /c\.json: machines\[2\]: Memory backend 'no' not found$/,
    ],
    [
      { machine: 'q35,memory-backend=m', objects: [backend] },
      /c\.json: machines\[2\]: Machine memory size does not match .* 'm'$/,
    ],
    [
      { objects: [backend, { ...backend, id: 'n', size: 0 }] },
      /c\.json: machines\[2\]\.objects\[1\]: property 'size' of memory-backend-ram doesn't take value '0'$/,
    ],
    [
      { objects: [backend, backend] },
      /c\.json: machines\[2\]\.objects\[1\]: attempt to add duplicate property 'm'/,
    ],
    [
      { devices: [{ driver: 'ivshmem-plain', memdev: 'no' }] },
      /c\.json: machines\[2\]\.devices\[0\]: Device 'no' not found$/,
    ],
  ] as const) {
    const given = read(t, {
      listen: '127.0.0.1:0',
      machines: [{ name: 'a' }, { name: 'b' }, { name: 'c', ...machine }],
    });
    await t.rejects(start(t, given), { message: text }, String(text));
  }
});

t.test('what fails when it is opened is told with its place in the file', async (t) => {
  const no = '/nope/x';
  const monitor = `unix:${no},server=on,wait=off`;
  for (const [content, text] of [
    [
      one({ monitors: [{ path: no }] }),
      'machines[1].monitors[0].path: Failed to bind socket to /nope/x: No such file or directory',
    ],
    [
      one({ monitors: [monitor] }),
      'machines[1].monitors[0]: Failed to bind socket to /nope/x: No such file or directory',
    ],
    [
      one({ qtest: { path: no } }),
      'machines[1].qtest.path: Failed to bind socket to /nope/x: No such file or directory',
    ],
    [
      one({ qtest: { path: '/tmp/x', log: no } }),
      "machines[1].qtest.log: Failed to open '/nope/x': No such file or directory",
    ],
    [
      one({ chardevs: [`socket,id=c,path=${no}`] }),
      "machines[1].chardevs[0]: Failed to connect to '/nope/x': No such file or directory",
    ],
    [
      one({ chardevs: [`socket,id=c,path=${no}`], monitors: ['chardev:c'] }),
      "machines[1].chardevs[0]: Failed to connect to '/nope/x': No such file or directory",
    ],
    [
      { ...one({}), listen: '0.0.0.0:0' },
      "listen: without a token file only loopback addresses are accepted, such as 127.0.0.1, not '0.0.0.0'",
    ],
    [
      { ...one({}), listen: '127.0.0.1:0', 'token-file': no },
      "token-file: Failed to open '/nope/x': No such file or directory",
    ],
  ] as const) {
    const given = read(t, { listen: '', ...content });
    const { message } = await start(t, given).then(
      () => ({ message: 'started' }),
      (error: unknown) => error as Error,
    );
    t.equal(message.replace(/^.*(?=c\.json: )/, ''), `c.json: ${text}`);
  }
  await t.rejects(start(t, read(t, { ...one({}), listen: '', pidfile: no })), {
    message: /c\.json: pidfile: .*no such file or directory/i,
  });
});

t.test('what the command line says instead is told as typed', async (t) => {
  const no = '/nope/x';
  for (const [content, words] of [
    [{ listen: '127.0.0.1:0' }, ['--listen', '0.0.0.0:0']],
    [{ listen: '127.0.0.1:0', 'token-file': no }, ['-token-file', '/nope/y']],
  ] as const)
    await t.rejects(start(t, read(t, { ...one({}), ...content }, words)), {
      message: new RegExp(`^${words.join(' ')}: `),
    });
  const words = ['--pidfile', '/nope/y'];
  await t.rejects(start(t, read(t, { ...one({}), listen: '', pidfile: no }, words)), {
    message: /^cannot create PID file: /,
  });
});

t.test('machines of one daemon do not meet', async (t) => {
  const folder = privateFolder(t);
  const socket = (name: string): string => join(folder, `${name}.sock`);
  const machine = (name: string): object => ({
    name,
    machine: 'none',
    objects: [{ 'qom-type': 'memory-backend-ram', id: 'same', size: 4096 }],
    monitors: [{ path: socket(name) }],
  });
  const daemon = await start(
    t,
    read(t, { listen: '127.0.0.1:0', machines: [machine('a'), machine('b')] }),
  );
  const [a, b] = [await Qmp.connect(socket('a')), await Qmp.connect(socket('b'))];
  for (const qmp of [a, b]) t.teardown(() => qmp.close());
  t.match(await a.execute('query-name'), { name: 'a' });
  await a.execute('object-del', { id: 'same' });
  t.match(await b.execute('query-memdev'), [{ id: 'same' }]);
  await a.execute('stop');
  t.match(await b.execute('query-status'), { running: true });
  t.strictSame(
    b.order.filter((name) => name === 'STOP'),
    [],
  );
  const base = `http://127.0.0.1:${String(daemon.httpAddress?.port)}`;
  await a.execute('quit');
  await a.closed();
  const listed = (await (await fetch(`${base}/machines`)).json()) as { machines: object[] };
  t.match(listed.machines, [{ name: 'b', backends: 1 }]);
  t.equal((await fetch(`${base}/machines/a`)).status, 404);
});

t.test('each machine has a guest side of its own', async (t) => {
  const folder = privateFolder(t);
  const path = (name: string): string => join(folder, name);
  const machines = [
    { name: 'a', machine: 'q35,accel=qtest', qtest: { path: path('a'), log: path('log') } },
    { name: 'b', machine: 'pc', qtest: { path: path('b') } },
    { name: 'c' },
  ];
  await start(t, read(t, { listen: '', machines }));
  const [a, b] = [await Qtest.connect(path('a')), await Qtest.connect(path('b'))];
  for (const qtest of [a, b]) t.teardown(() => qtest.close());
  t.equal(await a.ask('clock_step 100'), 'OK 100');
  t.equal(await b.ask('clock_step 100'), "FAIL Unknown command 'clock_step'");
  await a.ask('writel 0x1000 0x1');
  t.equal(await a.ask('readl 0x1000'), 'OK 0x0000000000000001');
  t.equal(await b.ask('readl 0x1000'), 'OK 0x0000000000000000');
  t.match(readFileSync(path('log'), 'utf8'), /clock_step 100/);
});

t.test('a thousand machines start in one daemon', async (t) => {
  const socket = join(privateFolder(t), 'm.sock');
  const machines = Array.from({ length: 1000 }, (_, at) => ({
    name: `m${String(at)}`,
    machine: 'q35',
    defaults: false,
    devices: [{ driver: 'pcie-root-port', id: 'rp0' }],
    ...(at === 999 ? { monitors: [{ path: socket }] } : {}),
  }));
  const before = { ms: performance.now(), rss: process.memoryUsage.rss() };
  const daemon = await start(t, read(t, { listen: '127.0.0.1:0', machines }));
  const ms = performance.now() - before.ms;
  const kib = (process.memoryUsage.rss() - before.rss) / 1024 / 1000;
  t.comment(`${ms.toFixed(0)} ms, ${kib.toFixed(0)} KiB for each machine`);
  t.equal(kib < 1024, true, 'in less than 1 MiB for each');
  const qmp = await Qmp.connect(socket);
  t.teardown(() => qmp.close());
  t.match(await qmp.execute('query-name'), { name: 'm999' });
  const base = `http://127.0.0.1:${String(daemon.httpAddress?.port)}`;
  const listed = (await (await fetch(`${base}/machines`)).json()) as { machines: object[] };
  t.equal(listed.machines.length, 1000);
  t.match(await (await fetch(`${base}/metrics`)).text(), /^qmemd_machines 1000$/m);
});

t.test('one machine of a file migrates to another one that waits for it', async (t) => {
  const folder = privateFolder(t);
  const uri = `unix:${join(folder, 'move')}`;
  const machine = (name: string, more: object): object => ({
    ...{ name, memory: '1M', defaults: false, ...more },
    monitors: [{ path: join(folder, name) }],
  });
  const machines = [machine('from', {}), machine('to', { incoming: uri })];
  await start(t, read(t, { listen: '127.0.0.1:0', machines }));
  const [from, to] = await Promise.all(
    ['from', 'to'].map((name) => Qmp.connect(join(folder, name))),
  );
  t.teardown(() => from?.close());
  t.teardown(() => to?.close());
  t.match(await to?.execute('query-status'), { status: 'inmigrate' });
  await from?.execute('migrate', { uri });
  await eventually('it has moved', async () => {
    const { status } = (await to?.execute('query-status')) as { status: string };
    return status === 'running';
  });
  t.match(await from?.execute('query-status'), { status: 'postmigrate' });
});

t.test('where a migration cannot come from is told with its place', async (t) => {
  for (const [incoming, text] of [
    ['nope:1', /c\.json: machines\[1\]\.incoming: unknown migration protocol: nope:1$/],
    ['tcp:192.0.2.1:1', /machines\[1\]\.incoming: .*not a loopback address/],
    [`unix:${privateFolder(t)}/no/such`, /machines\[1\]\.incoming: .*No such file/],
  ] as const)
    await t.rejects(start(t, read(t, { ...one({ incoming }), listen: '' })), { message: text });
});

t.test('the documented example is good, and so is the printed schema', async (t) => {
  const text = readFileSync('docs/config.md', 'utf8');
  const example: unknown = JSON.parse(/```json\n(.*?)```/s.exec(text)?.[1] ?? '');
  t.equal(read(t, example).machines.length, 2);
  const printed = configJsonSchema();
  t.equal(readFileSync('docs/config.schema.json', 'utf8'), printed, 'npm run reference');
  const { Ajv } = createRequire(import.meta.url)('ajv') as typeof AjvModule;
  const validate = new Ajv({ strict: false }).compile(JSON.parse(printed) as object);
  t.equal(validate(example), true);
  t.equal(validate(one({ colour: 1 })), false);
});
