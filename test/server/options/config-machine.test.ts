import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { readConfig, second, startConfig } from '../../support/config.js';
import { privateFolder } from '../../support/daemon.js';
import { startIvshmem } from '../../support/ivshmem.js';
import { needsNative } from '../../support/mdevice.js';
import { Qmp } from '../../support/qmp.js';
import { Qtest } from '../../support/qtest.js';

const listening = (path: string): string => `${path},server=on,wait=off`;

t.test('character devices and monitors of a machine are as on the command line', async (t) => {
  const { machines } = readConfig(
    t,
    second({
      chardevs: ['null,id=n', 'socket,id=m,path=/m', 'socket,id=c,host=::1,port=5'],
      monitors: [
        { path: '/p', pretty: true },
        'tcp:127.0.0.1:4444,server=on,wait=off',
        'unix:/u,server=on',
        'chardev:m',
      ],
    }),
  );
  const listen = { kind: 'unix-listen', wait: false };
  t.match(machines[1]?.monitors, [
    { label: 'm', endpoint: { kind: 'unix-connect', path: '/m' }, pretty: false },
    { endpoint: { ...listen, path: '/p' }, pretty: true },
    { endpoint: { kind: 'tcp-listen', host: '127.0.0.1', port: '4444', wait: false } },
    { endpoint: { ...listen, path: '/u', wait: true }, pretty: false },
  ]);
  t.match(
    machines[1]?.chardevs,
    [
      { id: 'n', endpoint: { kind: 'idle', backend: 'null' } },
      { id: 'c', endpoint: { kind: 'tcp-connect', host: '::1', port: '5' } },
    ],
    "without the monitor's",
  );
});

t.test('what cannot be is told with its place', async (t) => {
  const long = `unix:/${'x'.repeat(107)},server=on`;
  const socket = (id: string, path: string): string => `socket,id=${id},path=${listening(path)}`;
  for (const [machine, text] of [
    [
      { chardevs: 'null' },
      /machines\[1\]: Invalid parameter type for 'chardevs', expected: array$/,
    ],
    [
      { chardevs: [{}] },
      /machines\[1\]: Invalid parameter type for 'chardevs\[0\]', expected: str/,
    ],
    [{ chardevs: ['nope,id=a'] }, /\[1\]\.chardevs\[0\]: 'nope' is not a valid char driver name$/],
    [{ chardevs: ['null'] }, /c\.json: machines\[1\]\.chardevs\[0\]: chardev: no id specified$/],
    [
      { chardevs: ['null,id=a', 'socket,id=a,path=/x'] },
      /machines\[1\]\.chardevs\[1\]: Duplicate ID 'a' for chardev$/,
    ],
    [
      { chardevs: [socket('a', '/s'), socket('b', '/s')] },
      /machines\[1\]\.chardevs\[1\]: '\/s' is taken by machines\[1\]\.chardevs\[0\]$/,
    ],
    [
      { chardevs: [socket('a', '/s')], monitors: [{ path: '/s' }] },
      /machines\[1\]\.monitors\[0\]\.path: '\/s' is taken by machines\[1\]\.chardevs\[0\]$/,
    ],
    [
      { chardevs: [socket('a', '/s')], monitors: ['chardev:a', `unix:${listening('/s')}`] },
      /machines\[1\]\.monitors\[1\]: '\/s' is taken by machines\[1\]\.chardevs\[0\]$/,
    ],
    [{ monitors: [long] }, /machines\[1\]\.monitors\[0\]: a socket's path has 107 bytes at most/],
    [{ monitors: ['x'] }, /machines\[1\]\.monitors\[0\]: 'x' is not a valid char driver/],
    [{ monitors: [''] }, /machines\[1\]\.monitors\[0\]: '' is not a valid char driver/],
    [{ monitors: [7] }, /machines\[1\]\.monitors\[0\]: an object or a text is expected$/],
    [{ monitors: ['chardev:a'] }, /machines\[1\]\.monitors\[0\]: chardev "a" not found$/],
    [
      { chardevs: ['null,id=a'], monitors: ['chardev:a'] },
      /machines\[1\]\.monitors\[0\]: chardev "a" is of type 'null'/,
    ],
    [
      { monitors: ['tcp:0.0.0.0:1,server=on'] },
      /machines\[1\]\.monitors\[0\]: a socket that controls the machine may use loopback/,
    ],
    [
      { chardevs: ['stdio,id=a'], monitors: ['stdio'] },
      /machines\[1\]\.monitors\[0\]: cannot use stdio by multiple character devices$/,
    ],
  ] as const)
    t.throws(() => readConfig(t, second(machine)), { message: text }, String(text));
  const both = ['a', 'b'].map((name) => ({ name, chardevs: ['stdio,id=x'] }));
  t.throws(() => readConfig(t, { machines: both }), {
    message: /machines\[1\]\.chardevs\[0\]: cannot use stdio by multiple character devices$/,
  });
});

t.test('a name with a comma is a name', async (t) => {
  const { machines } = readConfig(t, second({ 'guest-name': 'a,b=c' }));
  t.equal(machines[1]?.guestName, 'a,b=c');
});

t.test('a serial port has its line, and monitors speak over TCP', async (t) => {
  const path = (name: string): string => join(privateFolder(t), name);
  const [line, guest] = [path('line'), path('guest')];
  const monitor = { path: path('qmp') };
  const daemon = await startConfig(
    t,
    readConfig(t, {
      listen: '',
      machines: [
        { name: 'a', machine: 'none', chardevs: ['null,id=tty'] },
        {
          name: 'b',
          chardevs: [`socket,id=tty,path=${listening(line)}`],
          devices: [{ driver: 'isa-serial', chardev: 'tty' }],
          qtest: { path: guest },
          monitors: [monitor, 'tcp:127.0.0.1:0,server=on,wait=off'],
        },
      ],
    }),
  );
  const qtest = await Qtest.connect(guest);
  t.teardown(() => qtest.close());
  const peer = connect(line);
  t.teardown(() => peer.destroy());
  await once(peer, 'connect');
  await qtest.ask('outb 0x3f8 0x41');
  t.equal(String((await once(peer, 'data'))[0]), 'A');
  const first = await Qmp.connect(monitor.path);
  t.teardown(() => first.close());
  const { port } = (await first.execute('qom-get', {
    ...{ path: '/chardevs/compat_monitor1', property: 'addr' },
  })) as { port: string };
  const qmp = await Qmp.connect({ host: '127.0.0.1', port: Number(port) });
  t.teardown(() => qmp.close());
  t.match(await qmp.execute('query-name'), { name: 'b' });
  await daemon.stop();
  t.equal(existsSync(line), false);
});

t.test('machines of a file meet at an ivshmem server', needsNative, async (t) => {
  const folder = privateFolder(t);
  const path = join(folder, 's');
  const memory = `qmemd-test-${randomUUID()}`;
  t.teardown(() => rmSync(`/dev/shm/${memory}`, { force: true }));
  await startIvshmem(t, ['-S', path, '-M', memory, '-n', '1', '-l', '1M']);
  const machine = (name: string, device: object): object => ({
    ...{ name, defaults: false, chardevs: [`socket,id=c0,path=${path}`] },
    devices: [{ ...device, id: 'd', chardev: 'c0' }],
    monitors: [{ path: join(folder, name) }],
  });
  const machines = [
    machine('a', { driver: 'ivshmem-doorbell', vectors: 1 }),
    machine('b', { driver: 'shm-pci', vectors: 1 }),
  ];
  await startConfig(t, readConfig(t, { listen: '', machines }));
  const [a, b] = [await Qmp.connect(join(folder, 'a')), await Qmp.connect(join(folder, 'b'))];
  for (const qmp of [a, b]) {
    t.teardown(() => qmp.close());
    await qmp.execute('guest-config-write', { id: 'd', offset: 4n, size: 2n, value: 6n });
  }
  const at = { id: 'd', bar: 2n, offset: 0x100n, size: 4n };
  await a.execute('guest-mmio-write', { ...at, value: 0x01020304n });
  t.match(await b.execute('guest-mmio-read', at), { value: 0x01020304n });
});

t.test('a device whose character device is missing is told with its place', async (t) => {
  const devices = [{ driver: 'isa-serial', chardev: 'no' }];
  await t.rejects(startConfig(t, readConfig(t, { listen: '', ...second({ devices }) })), {
    message:
      /c\.json: machines\[1\]\.devices\[0\]: Property 'serial\.chardev' can't find value 'no'$/,
  });
});
