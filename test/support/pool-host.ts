import type { ChildProcess } from 'node:child_process';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Json } from '../side-by-side/client.js';
import { connectWhenUp, eventually, privateFolder, spawnDaemon, type Cleanup } from './daemon.js';
import { CXL_PORTS } from './pools.js';
import { QmpFailure, type Qmp } from './qmp.js';
import { MiB, response, responseBytes, type Range } from './type3.js';

export const REFUSED = 'mhsld is enabled and extent reservation failed';
const AT_ONCE = 4;
const BACKENDS = [
  { 'qom-type': 'memory-backend-ram', id: 'dc', size: 4096n * MiB },
  { 'qom-type': 'memory-backend-ram', id: 'half', size: 2048n * MiB },
  { 'qom-type': 'memory-backend-ram', id: 'static', size: 256n * MiB },
];

/** Dynamic capacity of one head as management sees it. */
export interface HeadInfo {
  readonly pending: readonly {
    readonly extents: readonly { 'start-dpa': bigint; len: bigint }[];
  }[];
  readonly accepted: readonly { readonly 'start-dpa': bigint; readonly len: bigint }[];
  readonly blocks: readonly { readonly first: bigint; count: bigint; heads: readonly bigint[] }[];
}

/** A process with one host. */
interface HostProcess {
  readonly child: ChildProcess;
  readonly exit: Promise<number>;
  readonly socket: string;
}

/** A machine that can be a head of a pool, managed over its own QMP socket. */
export class PoolHost {
  readonly qmp: Qmp;
  readonly #process: HostProcess | undefined;

  constructor(qmp: Qmp, process?: HostProcess) {
    this.qmp = qmp;
    this.#process = process;
  }

  /** Plugs a head in, in the place that `h` has; the reset gives power to its slot. */
  async attach(state: string, head: number, more: Record<string, Json> = {}): Promise<void> {
    await this.qmp.execute('device_add', {
      ...{ driver: 'cxl-mhsld', id: 'h', bus: 'rp0', 'num-dc-regions': 1n },
      ...{ 'volatile-dc-memdev': 'dc', 'mhd-state_file': state, 'mhd-head': BigInt(head) },
      ...{ 'mhd-init': head === 0, ...more },
    });
    await this.qmp.execute('system_reset');
  }
  async detach(): Promise<void> {
    await this.qmp.execute('device_del', { id: 'h' });
    await this.qmp.execute('guest-eject', { id: 'h' });
  }

  /** @returns `ok`, or why not; ranges in MiB */
  async add(...ranges: readonly Range[]): Promise<string> {
    try {
      await this.qmp.execute('cxl-add-dynamic-capacity', {
        ...{ path: 'h', 'host-id': 0n, 'selection-policy': 'prescriptive', region: 0n },
        extents: ranges.map(([offset, len]) => ({
          offset: BigInt(offset) * MiB,
          len: BigInt(len) * MiB,
        })),
      });
      return 'ok';
    } catch (error) {
      if (error instanceof QmpFailure) return error.message;
      throw error;
    }
  }
  /** Asks the host for a range in MiB. */
  async askBack(offset: number, len: number): Promise<void> {
    await this.qmp.execute('cxl-release-dynamic-capacity', {
      ...{ path: 'h', 'host-id': 0n, 'removal-policy': 'prescriptive', region: 0n },
      extents: [{ offset: BigInt(offset) * MiB, len: BigInt(len) * MiB }],
    });
  }

  /** One mailbox command; hexadecimal digits of the output, or `code CODE`. */
  async mailbox(opcode: number, input: Uint8Array): Promise<string> {
    const payload = Buffer.from(input).toString('base64');
    const args = { id: 'h', opcode: BigInt(opcode), payload };
    const reply = (await this.qmp.execute('guest-cxl-mailbox', args)) as Record<string, Json>;
    const code = Number(reply['return-code']);
    return code === 0
      ? Buffer.from(String(reply['payload']), 'base64').toString('hex')
      : `code ${code.toString(16)}`;
  }
  /** Add Dynamic Capacity Response; none refuses all. */
  respond(...ranges: readonly Range[]): Promise<string> {
    return this.mailbox(0x4802, response(ranges));
  }
  /** Takes all of the oldest offer. */
  async acceptAll(): Promise<string> {
    const [group] = (await this.info()).pending;
    const ranges = group?.extents.map((e) => ({ base: e['start-dpa'], len: e.len })) ?? [];
    return this.mailbox(0x4802, responseBytes(ranges));
  }
  release(...ranges: readonly Range[]): Promise<string> {
    return this.mailbox(0x4803, response(ranges));
  }
  async info(): Promise<HeadInfo> {
    const [info] = (await this.qmp.execute('query-cxl-dynamic-capacity')) as unknown as HeadInfo[];
    if (info === undefined) throw new Error('no head');
    return info;
  }

  /** Runs `work` on a second connection. @throws Error when the host was not spawned alone */
  async beside<T>(work: (qmp: Qmp) => Promise<T>): Promise<T> {
    if (this.#process === undefined) throw new Error('a machine among others');
    const qmp = await connectWhenUp(this.#process.socket);
    try {
      return await work(qmp);
    } finally {
      qmp.close();
    }
  }
  /** Ends the machine, and waits until its process has gone. */
  async end(): Promise<void> {
    await this.qmp.execute('quit');
    await this.#process?.exit;
  }
  /** Kills the process as kill -9 does. */
  async kill(): Promise<void> {
    this.#process?.child.kill('SIGKILL');
    await this.#process?.exit;
  }
}

/** A host in a process of its own, on the words of a command line. */
export const spawnHost = async (t: Cleanup, words: readonly string[]): Promise<PoolHost> => {
  const socket = join(privateFolder(t), 'qmp.sock');
  const process = spawnDaemon(t, [...words, '-qmp', `unix:${socket},server=on,wait=off`]);
  await eventually('a socket', () => existsSync(socket) || process.child.exitCode !== null);
  if (!existsSync(socket)) throw new Error(process.stderr());
  const qmp = await connectWhenUp(socket);
  t.teardown(() => qmp.close());
  // The greeting comes before the machine is built.
  await qmp.execute('query-status');
  return new PoolHost(qmp, { ...process, socket });
};

/** Starts hosts a few at a time: each one wants a processor for itself while it starts. */
export const startHosts = async (
  count: number,
  start: (number: number) => Promise<PoolHost>,
): Promise<PoolHost[]> => {
  const hosts: PoolHost[] = [];
  while (hosts.length < count) {
    const batch = Array.from({ length: Math.min(AT_ONCE, count - hosts.length) }, (_, i) => i);
    const first = hosts.length;
    hosts.push(...(await Promise.all(batch.map((i) => start(first + i)))));
  }
  return hosts;
};

/** A host that has ports and backends, and no head yet. */
export const emptyHost = (t: Cleanup): Promise<PoolHost> =>
  spawnHost(t, [
    ...CXL_PORTS,
    ...BACKENDS.flatMap(({ size, ...object }) => [
      '-object',
      `${object['qom-type']},id=${object.id},size=${String(size)}`,
    ]),
  ]);

/** Eight such hosts as machines of one daemon. */
export const hostsOfOneDaemon = async (t: Cleanup): Promise<PoolHost[]> => {
  const folder = privateFolder(t);
  const socket = (i: number): string => join(folder, `${String(i)}.sock`);
  const machines = Array.from({ length: 8 }, (_, i) => ({
    ...{ name: `host${String(i)}`, machine: 'q35,cxl=on', defaults: false, paused: true },
    objects: BACKENDS.map((object) => ({ ...object, size: Number(object.size) })),
    devices: [
      { driver: 'pxb-cxl', id: 'cxl.0', bus: 'pcie.0', bus_nr: 52 },
      { driver: 'cxl-rp', id: 'rp0', bus: 'cxl.0' },
    ],
    monitors: [{ path: socket(i) }],
  }));
  const file = join(folder, 'hosts.json');
  writeFileSync(file, JSON.stringify({ listen: '', machines }));
  const { stderr } = spawnDaemon(t, ['--config', file]);
  await eventually(`eight sockets: ${stderr()}`, () => existsSync(socket(7)));
  const clients = await Promise.all(machines.map((_, i) => connectWhenUp(socket(i))));
  t.teardown(() => clients.forEach((qmp) => qmp.close()));
  return clients.map((qmp) => new PoolHost(qmp));
};
