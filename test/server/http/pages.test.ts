import t from 'tap';
import { startDaemon, type Cleanup } from '../../support/daemon.js';
import { FeedClient } from '../../support/feed.js';

const WORDS = [
  ...['-M', 'q35,guest-policy=accept', '-nodefaults', '-name', 'one', '--listen', '127.0.0.1:0'],
  ...['-uuid', '01234567-89ab-cdef-0123-456789abcdef'],
  ...['-object', 'memory-backend-ram,id=m0,size=1M'],
  ...['-device', 'pcie-root-port,id=rp0', '-device', 'ivshmem-plain,id=shm0,memdev=m0,bus=rp0'],
];

const start = async (test: Cleanup, words: readonly string[] = WORDS) => {
  const started = await startDaemon(test, words);
  const base = `http://127.0.0.1:${String(started.daemon.httpAddress?.port)}`;
  const get = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(`${base}${path}`, init);
    const { status, headers } = response;
    return {
      status,
      type: headers.get('content-type') ?? '',
      headers,
      body: await response.text(),
    };
  };
  const json = async (path: string) => JSON.parse((await get(path)).body) as unknown;
  return { ...started, base, get, json };
};

t.test('machines are listed and described', async (t) => {
  const { json, qmp } = await start(t);
  t.strictSame(await json('/machines'), {
    machines: [
      {
        name: 'one',
        uuid: '01234567-89ab-cdef-0123-456789abcdef',
        type: 'pc-q35-10.2',
        status: 'running',
        running: true,
        clients: { qmp: 1, events: 0 },
        devices: 2,
        backends: 2,
        path: '/machines/one',
        qmp: '/machines/one/qmp',
        events: '/machines/one/events',
      },
    ],
  });
  t.match(await json('/machines/one'), {
    name: 'one',
    uuid: '01234567-89ab-cdef-0123-456789abcdef',
    type: 'pc-q35-10.2',
    status: 'running',
    'guest-policy': 'accept',
    memory: 128 * 2 ** 20,
    clients: { qmp: 1, events: 0 },
    events: { stream: /^[0-9a-f-]{36}$/, sequence: 0, sent: 0, lost: 0 },
    devices: [
      { id: 'rp0', type: 'pcie-root-port', bus: 'pcie.0', hotplugged: false },
      { id: 'shm0', type: 'ivshmem-plain', path: '/machine/peripheral/shm0', bus: 'rp0' },
    ],
    backends: [{ id: 'm0', size: 2 ** 20 }, { id: 'pc.ram' }],
  });
  await qmp.execute('stop');
  await qmp.execute('device_del', { id: 'shm0' });
  await qmp.event('DEVICE_DELETED');
  t.match(await json('/machines/one'), { status: 'paused', devices: [{ id: 'rp0' }] });
});

t.test('other paths and other methods are refused in JSON', async (t) => {
  const { get } = await start(t, ['-M', 'none', '--listen', '127.0.0.1:0']);
  for (const path of ['/', '/nothing', '/machines/no', '/machines/default/x', '/healthz/']) {
    const { status, type, body } = await get(path);
    t.equal(status, 404, path);
    t.match(type, /^application\/json/);
    t.match(JSON.parse(body), { error: String });
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
    const { status, headers, body } = await get('/machines/default', { method });
    t.equal(status, 405, method);
    t.equal(headers.get('allow'), 'GET, HEAD');
    t.match(JSON.parse(body), { error: /can only be read/ });
  }
  t.equal((await get('/machines', { method: 'HEAD' })).status, 200);
  t.equal((await get('/machines/%zz')).status, 400);
  for (const path of ['/qmp', '/events'])
    t.equal((await get(path)).status, 404, `${path}: upgrade`);
});

t.test('the schema comes as JSON, or as Markdown to those who prefer it', async (t) => {
  const { get, qmp } = await start(t, ['-M', 'none', '--listen', '127.0.0.1:0']);
  const { body, type } = await get('/schema');
  t.match(type, /^application\/json/);
  const listed = (await qmp.execute('query-qmp-schema')) as unknown[];
  t.equal((JSON.parse(body) as unknown[]).length, listed.length);
  for (const [accept, markdown] of [
    ['text/markdown', true],
    ['text/markdown, application/json;q=0.5', true],
    ['text/html, text/plain;q=0.5', true],
    ['application/json, text/markdown;q=0.5', false],
    ['*/*', false],
  ] as const) {
    const page = await get('/schema', { headers: { accept } });
    t.equal(/^text\/markdown/.test(page.type), markdown, accept);
    if (markdown) t.match(page.body, /^# /);
  }
});

t.test('metrics count commands, clients, events, devices and backends', async (t) => {
  const { get, qmp, base } = await start(t);
  const { feed } = await FeedClient.open(`${base.replace('http', 'ws')}/events`);
  t.teardown(() => feed.close());
  await qmp.execute('query-status');
  await qmp.execute('query-status');
  await t.rejects(qmp.execute('device_del', { id: 'no' }));
  await t.rejects(qmp.execute('no-such-command'));
  await t.rejects(qmp.execute('another-one'));
  await qmp.execute('stop');
  await feed.next();
  const { body, type, status } = await get('/metrics');
  t.equal(status, 200);
  t.match(type, /^text\/plain; version=0\.0\.4/);
  for (const line of [
    'qmemd_commands_total{command="query-status",result="ok"} 2',
    'qmemd_commands_total{command="device_del",result="DeviceNotFound"} 1',
    'qmemd_commands_total{command="(unknown)",result="CommandNotFound"} 2',
    'qmemd_command_duration_seconds_bucket{le="+Inf",command="query-status"} 2',
    'qmemd_command_duration_seconds_count{command="query-status"} 2',
    '# TYPE qmemd_command_duration_seconds histogram',
    'qmemd_machines 1',
    'qmemd_machine_running{machine="one"} 0',
    'qmemd_clients{machine="one",endpoint="qmp"} 1',
    'qmemd_clients{machine="one",endpoint="events"} 1',
    'qmemd_events_total{machine="one"} 1',
    'qmemd_events_sent_total{machine="one"} 2',
    'qmemd_events_lost_total{machine="one"} 0',
    'qmemd_devices{machine="one",type="pcie-root-port"} 1',
    'qmemd_backends{machine="one"} 2',
    `qmemd_backend_bytes{machine="one"} ${String(129 * 2 ** 20)}`,
  ])
    t.equal(body.split('\n').includes(line), true, line);
  const buckets = [...body.matchAll(/_bucket\{le="([^"]+)",command="query-status"\} (\d+)/g)];
  const counts = buckets.map(([, , count]) => Number(count));
  t.strictSame(
    counts,
    [...counts].sort((a, b) => a - b),
    'buckets are cumulated',
  );
  t.equal((await get('/metrics')).body.includes('query-status",result="ok"} 2'), true, 'no drift');
});
