import type { Json } from './client.js';
import { ask, bare, get, list, type Scenario, type Step } from './requests.js';

type Members = { readonly [key: string]: Json };

const add = (id: Json, type: Json, data: Members = {}): Step =>
  ask('chardev-add', { id, backend: { type, data } });
const remove = (id: Json): Step => ask('chardev-remove', { id });
const sendBreak = (id: Json): Step => ask('chardev-send-break', { id });
const unix = (path: Json): Json => ({ type: 'unix', data: { path } });
const inet = (host: Json, port: Json): Json => ({ type: 'inet', data: { host, port } });
const named = (str: Json): Json => ({ type: 'fd', data: { str } });
const socket = (id: Json, addr: Json, more: Members = {}): Step =>
  add(id, 'socket', { addr, ...more });
const all = ask('query-chardev');
const yank = (...instances: Json[]): Step => ask('yank', { instances });
const yankable = ask('query-yank');
const chardev = (id: Json): Json => ({ type: 'chardev', id });
const MIGRATION = { type: 'migration' };

const NONE = '<dir>/none';
const HERE = '<dir>/here';
const client = { server: false };

const misshapen = [
  ask('chardev-add'),
  ask('chardev-add', { id: 'x' }),
  ask('chardev-add', { backend: { type: 'null', data: {} } }),
  ask('chardev-add', { id: 'x', backend: {} }),
  ask('chardev-add', { id: 'x', backend: { type: 'null' } }),
  ask('chardev-add', { id: 'x', backend: { type: 'nosuch', data: {} } }),
  ask('chardev-add', { id: 5n, backend: { type: 'null', data: {} } }),
  ask('chardev-add', { id: 'x', backend: { type: 'null', data: { nosuch: 1n } } }),
  ask('chardev-add', { id: 'x', backend: 'null' }),
  add('x', 'socket'),
  socket('x', {}),
  socket('x', { type: 'nosuch', data: {} }),
  socket('x', { type: 'unix', data: {} }),
  socket('x', inet('127.0.0.1', 1n)),
  socket('x', { type: 'inet', data: { host: '127.0.0.1' } }),
  socket('x', unix(NONE), { server: 'off' }),
  socket('x', unix(NONE), { reconnect: '1' }),
  ask('chardev-remove'),
  ask('chardev-send-break'),
  ask('query-chardev', { id: 'x' }),
  ask('query-chardev-backends', { id: 'x' }),
];

/** Instances that are not there, or are none; nothing is cut. */
const unyankable = [
  ask('yank'),
  ask('yank', { instances: 'c' }),
  ask('query-yank', { id: 'x' }),
  yank('c'),
  yank({}),
  yank({ id: 'c' }),
  yank({ type: 'chardev' }),
  yank({ type: 'nosuch' }),
  yank({ type: 'migration', id: 'c' }),
  yank({ type: 'block-node', id: 'c' }),
  yank({ type: 'block-node', 'node-name': 'c' }),
  ...['n', 'n0', 'zz', ''].map((id) => yank(chardev('c'), chardev(id))),
  yank(MIGRATION, chardev('c')),
  yank(chardev('c'), MIGRATION),
  yank(),
];

const impossible = [
  socket('x', unix(NONE), client),
  socket('x', unix('<dir>/none/deeper'), { wait: false }),
  socket('x', unix(`/${'x'.repeat(200)}`), client),
  socket('x', unix(NONE), { reconnect: 1n }),
  socket('x', unix(NONE), { ...client, wait: true }),
  socket('x', unix(NONE), { ...client, wait: false }),
  socket('x', unix(NONE), { ...client, websocket: true }),
  socket('x', unix(NONE), { 'tls-creds': 't' }),
  socket('x', unix(NONE), { 'tls-authz': 't' }),
  socket('x', inet('127.0.0.1', '1'), client),
  socket('x', inet('127.0.0.1', 'abc'), client),
  socket('x', inet('127.0.0.1', 'abc'), { wait: false }),
  socket('x', named('nosuch')),
  socket('x', named('9999'), client),
  socket('x', named('1x'), client),
  socket('x', named('nosuch'), { ...client, reconnect: 1n }),
];

/** Character devices and descriptors; no descriptor is passed here. */
export const chardevScenarios: readonly Scenario[] = [
  {
    name: 'character devices come, are shown and go',
    options: [...bare('q35'), '-chardev', 'null,id=n0'],
    steps: [
      all,
      ask('query-chardev-backends'),
      add('n', 'null'),
      add('n', 'null'),
      add('n0', 'null'),
      ...['1a', 'a/b', 'with blank'].flatMap((id) => [add(id, 'null'), remove(id)]),
      socket('s', unix(HERE), { wait: false }),
      all,
      get('/chardevs/s', 'connected'),
      get('/chardevs/s', 'addr'),
      socket('c', unix(HERE), client),
      all,
      get('/chardevs/s', 'connected'),
      get('/chardevs/c', 'connected'),
      list('/chardevs'),
      list('/chardevs/s'),
      list('/chardevs/n'),
      socket('r', unix(NONE), { ...client, reconnect: 60n }),
      all,
      get('/chardevs/r', 'connected'),
      yankable,
      ...unyankable,
      get('/chardevs/c', 'connected'),
      yank(chardev('r')),
      yank(chardev('c'), { id: 's', type: 'chardev' }, chardev('c')),
      yankable,
      ...['n', 's', 'c', 'zz', ''].map(sendBreak),
      ...['compat_monitor0', 'n', 'n', 's', 'c', 'r', 'zz', ''].map(remove),
      all,
      yankable,
      list('/chardevs'),
    ],
  },
  {
    name: 'character devices that cannot be, and descriptors that nobody sent',
    options: ['-M', 'none', '-S'],
    steps: [
      ...misshapen,
      ...impossible,
      all,
      ask('getfd', { fdname: 'a' }),
      ask('getfd', { fdname: '1x' }),
      ask('getfd'),
      ask('getfd', { fdname: 1n }),
      ask('closefd', { fdname: 'a' }),
      ask('closefd', { fdname: '' }),
      ask('closefd'),
      ask('add-fd'),
      ask('add-fd', { 'fdset-id': -1n }),
      ask('add-fd', { 'fdset-id': 'x' }),
      ask('remove-fd', { 'fdset-id': 1n }),
      ask('remove-fd', { 'fdset-id': 1n, fd: 3n }),
      ask('remove-fd'),
      ask('query-fdsets'),
      ask('add_client', { protocol: 'vnc', fdname: 'a' }),
      ask('add_client', { protocol: 'nosuch', fdname: 'a' }),
      ask('add_client', { protocol: 'compat_monitor0', fdname: 'a' }),
      ask('add_client', { protocol: 'vnc' }),
      ask('add_client', { fdname: 'a' }),
      ask('add_client', { protocol: 'vnc', fdname: 'a', tls: 'on' }),
    ],
  },
];
