import { closeSync, openSync } from 'node:fs';
import t from 'tap';
import { modules } from '../../schema/index.js';
import { definitions } from '../../schema/introspect.js';
import type { EnumType } from '../../schema/lang.js';
import { NativeLoader } from '../../server/os/native.js';
import { descriptorOf } from '../../server/transport/late-connection.js';
import { startDaemon, type Cleanup } from '../support/daemon.js';
import { LineClient } from './transcript.js';

const NEGOTIATE = '{"execute":"qmp_capabilities"}';
const NAME = '{"execute":"query-name"}';
const NAMED = '{"return": {"name": "vm0"}}';
/** Commands that QEMU, too, runs out of band. */
const OUT_OF_BAND = ['migrate-pause', 'migrate-recover', 'query-yank', 'yank'];
const WORDS = ['-M', 'pc,guest-policy=accept', '-name', 'vm0', '-S'];

type Message = Record<string, unknown> & { error?: { class: unknown; desc: unknown } };
const parse = (line: string): Message => JSON.parse(line) as Message;

/** A daemon with a client that has read its greeting, and another past negotiation. */
const clients = async (t: Cleanup) => {
  const { socket } = await startDaemon(t, WORDS);
  const dial = async (): Promise<LineClient> => {
    const client = await LineClient.connect(socket);
    t.teardown(() => client.close());
    await client.line();
    return client;
  };
  const ready = async (enable = ''): Promise<LineClient> => {
    const client = await dial();
    await client.ask(`{"execute":"qmp_capabilities","arguments":{"enable":[${enable}]}}`);
    return client;
  };
  return { socket, dial, ready };
};

t.test('rule 1: every message ends with CR LF and has no line break inside', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  for (const command of ['query-qmp-schema', 'query-commands', 'query-pci', 'nothing', 'cont'])
    await client.ask(`{"execute":"${command}"}`);
  const text = client.reads.join('');
  t.equal(text.endsWith('\r\n'), true);
  for (const line of text.split('\r\n').slice(0, -1)) {
    t.equal(/[\r\n]/.test(line), false);
    t.type(parse(line), 'object');
  }
});

t.test('rule 2: a command without a line end is answered', async (t) => {
  const { ready } = await clients(t);
  t.equal(await (await ready()).ask(NAME), NAMED);
});

t.test('rule 3: CR LF, LF, blanks or nothing between commands, in any reads', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  for (const between of ['\r\n', '\n', ' ', '\t', '']) {
    client.send(NAME + between + NAME + between);
    t.strictSame([await client.line(), await client.line()], [NAMED, NAMED]);
  }
  for (const letter of `${NAME}\r\n`) {
    client.send(letter);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.equal(await client.line(), NAMED, 'one command over many reads');
});

t.test('rule 4: the greeting comes first, whole, in a read of its own', async (t) => {
  const { dial } = await clients(t);
  const client = await dial();
  t.equal(client.reads.length, 1);
  t.match(client.reads[0], /^{"QMP": .*}\r\n$/);
});

t.test('rule 5: commands that are sent before the greeting is read are run', async (t) => {
  const { socket } = await clients(t);
  const client = await LineClient.connect(socket);
  t.teardown(() => client.close());
  client.send(NEGOTIATE + NAME);
  t.match(await client.line(), /^{"QMP"/);
  t.strictSame([await client.line(), await client.line()], ['{"return": {}}', NAMED]);
});

t.test('rule 6: no event before the negotiation reply, which has a write of its own', async (t) => {
  const { dial, ready } = await clients(t);
  const [early, acting] = [await dial(), await ready()];
  for (const command of ['cont', 'stop', 'system_reset']) {
    acting.send(`{"execute":"${command}"}`);
    while (!('return' in parse(await acting.line())));
  }
  t.equal(await early.ask(NEGOTIATE), '{"return": {}}', 'the events of before are not for it');
  t.equal(early.reads[1], '{"return": {}}\r\n', 'nothing else in that read');
  acting.send('{"execute":"system_reset"}');
  t.match(parse(await early.line()), { event: 'RESET' }, 'those after it are');
});

t.test('rule 7: an id comes back as it was, and none where there was none', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  const ids = ['1', '"x"', 'null', 'true', '-0.5', '18446744073709551615', '[1, {"a": []}]', '""'];
  for (const id of ids)
    t.equal(
      await client.ask(`{"execute":"query-name","id":${id}}`),
      `{"return": {"name": "vm0"}, "id": ${id}}`,
    );
  t.equal(await client.ask(NAME), NAMED);
  t.equal(Object.hasOwn(parse(await client.ask('{"execute":"no"}')), 'id'), false);
});

t.test('rule 8: commands are answered one by one, in order, and nothing else comes', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  const count = 500;
  for (let i = 0; i < count; i++)
    client.send(`{"execute":"${i % 3 === 0 ? 'query-pci' : 'no'}","id":${String(i)}}`);
  for (let i = 0; i < count; i++)
    if (parse(await client.line())['id'] !== i) throw new Error(`reply ${String(i)} is another`);
  t.strictSame(await client.finish(), []);
});

t.test(
  'rule 9: an error has class and desc; a parse error no id, and the session lives',
  async (t) => {
    const { ready } = await clients(t);
    const client = await ready();
    for (const input of ['garbage\n', '{"execute":1}', '[]', '{"id":1,}\n', '{"execute":"no"}']) {
      const reply = parse(await client.ask(input));
      t.type(reply.error?.class, 'string', input);
      t.type(reply.error?.desc, 'string', input);
      if (String(reply.error?.desc).startsWith('JSON parse')) t.equal('id' in reply, false);
      // What is left of a bad message may be an error of its own.
      client.send(`\u00ff${NAME.replace('}', ',"id":"next"}')}`);
      while (parse(await client.line())['id'] !== 'next');
    }
  },
);

t.test('rule 10: the error classes are those that clients branch on', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  const classOf = async (text: string) => parse(await client.ask(text)).error?.class;
  t.equal(await classOf('{"execute":"no"}'), 'CommandNotFound');
  t.equal(await classOf('{"execute":"device_del","arguments":{"id":"no"}}'), 'DeviceNotFound');
  t.equal(await classOf('{"execute":"qom-list","arguments":{"path":"/no"}}'), 'DeviceNotFound');
  t.equal(await classOf('{"execute":"device_add","arguments":{"driver":"no"}}'), 'GenericError');
});

t.test('rule 11: the greeting has three version numbers, a package and capabilities', async (t) => {
  const { socket } = await clients(t);
  const client = await LineClient.connect(socket);
  t.teardown(() => client.close());
  const qemu = { major: Number, minor: Number, micro: Number };
  t.match(parse(await client.line()), {
    QMP: { version: { qemu, package: String }, capabilities: Array },
  });
});

t.test('rule 12: oob is offered, and works', async (t) => {
  const { ready } = await clients(t);
  const client = await ready('"oob"');
  const list = parse(await client.ask('{"execute":"query-qmp-schema"}'))['return'];
  const able = (list as { name: string; 'allow-oob'?: boolean }[]).filter(
    (entry) => entry['allow-oob'] === true,
  );
  t.strictSame(able.map(({ name }) => name).sort(), OUT_OF_BAND);
  const refused = parse(await client.ask('{"exec-oob":"query-name","id":1}'));
  t.equal(refused.error?.desc, 'The command query-name does not support OOB');
  client.send('{"execute":"query-pci","id":2}{"execute":"query-name","id":3}');
  t.strictSame([parse(await client.line())['id'], parse(await client.line())['id']], [2, 3]);
});

t.test('rule 12: what runs out of band overtakes what is still under way', async (t) => {
  const { ready } = await clients(t);
  const client = await ready('"oob"');
  const plug =
    '{"execute":"device_add","arguments":{"driver":"pci-bridge","id":"b","chassis_nr":1},';
  client.send(`${plug}"id":1}{"execute":"query-name","id":2}{"exec-oob":"query-yank","id":"oob"}`);
  t.match(parse(await client.line()), { return: [{ type: 'chardev' }], id: 'oob' });
  t.strictSame([parse(await client.line())['id'], parse(await client.line())['id']], [1, 2]);
  client.send('{"exec-oob":"yank","arguments":{"instances":[]},"id":"yank"}');
  t.equal(await client.line(), '{"return": {}, "id": "yank"}');
});

t.test('rule 12: exec-oob without having enabled it is no command', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  t.strictSame(parse(await client.ask('{"exec-oob":"query-yank","id":1}')), {
    id: 1,
    error: { class: 'GenericError', desc: "QMP input member 'exec-oob' is unexpected" },
  });
});

t.test('rule 13: arguments may be absent or empty where nothing is required', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  const free = definitions(modules).filter(
    (definition) =>
      definition.kind === 'command' &&
      /^query-/.test(definition.name) &&
      !/xen|sev|sgx/.test(definition.name),
  );
  t.equal(free.length > 5, true);
  for (const { name } of free) {
    const bare = parse(await client.ask(`{"execute":"${name}"}`));
    const empty = parse(await client.ask(`{"execute":"${name}","arguments":{}}`));
    t.strictSame(Object.keys(empty), Object.keys(bare), name);
    t.strictSame(empty.error, bare.error, name);
  }
});

t.test(
  'rule 14: an event has its name, a timestamp of two numbers, and data as an object',
  async (t) => {
    const { ready } = await clients(t);
    const client = await ready();
    const timestamp = { seconds: Number, microseconds: Number };
    const event = async (command: string) => {
      const first = parse(await client.ask(`{"execute":"${command}"}`));
      await client.line();
      return first;
    };
    const resumed = await event('cont');
    t.match(resumed, { event: 'RESUME', timestamp });
    t.equal('data' in resumed, false);
    t.match(await event('system_reset'), { event: 'RESET', timestamp, data: { guest: false } });
  },
);

t.test('rule 15: events of our own only for clients that asked', async (t) => {
  const { ready } = await clients(t);
  const [plain, subscribed] = [await ready(), await ready()];
  await subscribed.ask('{"execute":"subscribe-events"}');
  plain.send('{"execute":"cont"}');
  const seen = parse(await plain.line());
  t.strictSame(Object.keys(seen), ['timestamp', 'event'], 'and no member of our own');
  t.match(parse(await subscribed.line()), { event: 'RESUME', seq: 1 });
  const own = definitions(modules).filter(
    (one) => one.kind === 'event' && (one.features ?? []).includes('qmemd'),
  );
  t.equal(own.length > 0, true);
});

/** What the typed clients of QEMU know; a value beyond it fails a whole reply of theirs. */
const KNOWN: Readonly<Record<string, readonly string[]>> = {
  RunState: [
    ...['debug', 'inmigrate', 'internal-error', 'io-error', 'paused', 'postmigrate', 'prelaunch'],
    ...['finish-migrate', 'restore-vm', 'running', 'save-vm', 'shutdown', 'suspended', 'watchdog'],
    ...['guest-panicked', 'colo'],
  ],
  ShutdownCause: [
    ...['none', 'host-error', 'host-qmp-quit', 'host-qmp-system-reset', 'host-signal', 'host-ui'],
    ...['guest-shutdown', 'guest-reset', 'guest-panic', 'subsystem-reset', 'snapshot-load'],
  ],
  MemoryDeviceInfoKind: ['dimm', 'nvdimm', 'virtio-pmem', 'virtio-mem', 'sgx-epc', 'hv-balloon'],
  HostMemPolicy: ['default', 'preferred', 'bind', 'interleave'],
  QMPCapability: ['oob'],
  OnOffAuto: ['auto', 'on', 'off'],
  SysEmuTarget: ['i386', 'x86_64'],
};

t.test('rule 16: enumerations that QEMU has, too, have no values of our own', async (t) => {
  const isEnumeration = (value: unknown): value is EnumType =>
    typeof value === 'object' && value !== null && 'kind' in value && value.kind === 'enum';
  const ours = new Map(
    modules
      .flatMap((module) => Object.values(module).filter(isEnumeration))
      .map(({ name, values }) => [name, values]),
  );
  for (const [name, known] of Object.entries(KNOWN)) {
    const values = ours.get(name);
    t.equal(values === undefined, false, `${name} is there`);
    t.strictSame(
      values?.filter((value) => !known.includes(value)),
      [],
      name,
    );
  }
});

t.test('rule 16: the run states and device kinds that a client meets are known ones', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  const status = async () =>
    (parse(await client.ask('{"execute":"query-status"}'))['return'] as { status: string }).status;
  t.equal(await status(), 'prelaunch');
  for (const [command, wanted] of [
    ['cont', 'running'],
    ['stop', 'paused'],
  ] as const) {
    await client.ask(`{"execute":"${command}"}`);
    await client.line();
    t.equal(await status(), wanted);
  }
});

t.test('rule 17: replies are short where there is a choice', async (t) => {
  const { ready } = await clients(t);
  const client = await ready();
  for (const name of ['query-commands', 'query-pci', 'query-status', 'query-version'])
    t.equal((await client.ask(`{"execute":"${name}"}`)).length < 65_536, true, name);
  t.equal((await client.ask('{"execute":"query-qmp-schema"}')).length < 10 << 20, true);
});

const native = new NativeLoader().load();
t.test(
  'rule 18: a descriptor may come with a command, or on a blank before it',
  { skip: native === undefined ? 'no native layer' : false },
  async (t) => {
    const { ready } = await clients(t);
    const client = await ready();
    const fd = openSync('/dev/null', 'r');
    t.teardown(() => closeSync(fd));
    const sendWith = (text: string): void => {
      native?.sendmsg(descriptorOf(client.socket) ?? -1, Buffer.from(text), [fd]);
    };
    sendWith(NAME);
    t.equal(await client.line(), NAMED, 'with the command');
    sendWith(' ');
    t.equal(await client.ask(NAME), NAMED, 'on a blank');
    const getfd = (name: string): string => `{"execute":"getfd","arguments":{"fdname":"${name}"}}`;
    const close = (name: string): Promise<string> =>
      client.ask(`{"execute":"closefd","arguments":{"fdname":"${name}"}}`);
    for (const [name, send] of [
      ['with', () => sendWith(getfd('with'))],
      ['before', () => [sendWith(' '), client.send(getfd('before'))]],
      [
        'halves',
        () => [client.send(getfd('halves').slice(0, 9)), sendWith(getfd('halves').slice(9))],
      ],
    ] as const) {
      send();
      t.equal(await client.line(), '{"return": {}}', name);
      t.equal(await close(name), '{"return": {}}', `${name}: it was taken`);
    }
    t.match(parse(await client.ask(getfd('none'))), {
      error: { desc: 'No file descriptor supplied via SCM_RIGHTS' },
    });
    sendWith(' ');
    const added = parse(await client.ask('{"execute":"add-fd"}'))['return'];
    t.match(added, { 'fdset-id': 0, fd: Number });
    t.match(parse(await client.ask('{"execute":"query-fdsets"}'))['return'], [
      { 'fdset-id': 0, fds: [added && { fd: (added as { fd: number }).fd }] },
    ]);
  },
);

t.test('rule 19: a second client does not disturb the first', async (t) => {
  const { dial, ready } = await clients(t);
  const first = await ready();
  first.send('{"execute":"que');
  const second = await dial();
  second.send('garbage that never ends {"');
  second.close();
  t.equal(await first.ask('ry-name"}'), NAMED);
});

t.test('rule 20: query-commands answers on every monitor', async (t) => {
  const { ready } = await clients(t);
  const [one, two] = [await ready(), await ready('"oob"')];
  const ask = '{"execute":"query-commands"}';
  t.match(parse(await one.ask(ask))['return'], [{ name: String }]);
  t.match(parse(await two.ask(ask))['return'], [{ name: String }]);
});
