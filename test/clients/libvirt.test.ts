import { rmSync } from 'node:fs';
import t from 'tap';
import { eventually, type Cleanup } from '../support/daemon.js';
import { Libvirt, libvirtMissing } from '../support/libvirt.js';

/** libvirt starts qmemd as its emulator and drives it. reference/clients.md §2 */

const missing = libvirtMissing();

const domain = (emulator: string): string => `
<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>pool</name>
  <maxMemory slots='4' unit='MiB'>1024</maxMemory>
  <memory unit='MiB'>256</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc-q35-10.2'>hvm</type></os>
  <cpu><numa><cell id='0' cpus='0' memory='256' unit='MiB'/></numa></cpu>
  <devices>
    <emulator>${emulator}</emulator>
    <controller type='usb' model='none'/>
    <controller type='pci' index='0' model='pcie-root'/>
    <controller type='pci' index='1' model='pcie-root-port'/>
    <controller type='pci' index='2' model='pcie-to-pci-bridge'/>
    <console type='pty'/>
    <memballoon model='none'/>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-machine'/>
    <qemu:arg value='guest-policy=accept,nvdimm=on'/>
  </qemu:commandline>
</domain>`;
const SHM_NAME = `qmemd-test-${String(process.pid)}`;
const SHMEM = `<shmem name='${SHM_NAME}'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>`;
const DIMM = `<memory model='dimm'><target><size unit='MiB'>128</size><node>0</node></target></memory>`;

const nvdimm = (path: string): string =>
  `<memory model='nvdimm'><source><path>${path}</path></source><target><size unit='MiB'>64</size><node>0</node></target></memory>`;

const VIRTIO_MEM = `<memory model='virtio-mem'><target><size unit='MiB'>128</size><node>0</node><block unit='KiB'>2048</block><requested unit='MiB'>64</requested></target></memory>`;

const start = async (t: Cleanup): Promise<Libvirt> => {
  const libvirt = new Libvirt(t);
  t.teardown(async () => {
    const left = libvirt.domainProcess('pool');
    if (left !== undefined) process.kill(left, 'SIGKILL');
    await libvirt.stop();
    // libvirt leaves the memory for others.
    rmSync(`/dev/shm/${SHM_NAME}`, { force: true });
  });
  await libvirt.start();
  return libvirt;
};

t.test('libvirt drives qmemd', { skip: missing ?? false }, async (t) => {
  const libvirt = await start(t);
  const file = (name: string, text: string) => libvirt.write(name, text);
  const peripherals = async () => {
    const path = '/machine/peripheral';
    const reply = await libvirt.qmp('pool', { execute: 'qom-list', arguments: { path } });
    return (reply as { return: { name: string }[] }).return.map(({ name }) => name);
  };

  const words = ['--emulatorbin', libvirt.emulator, '--virttype', 'qemu', '--arch', 'x86_64'];
  t.match(await libvirt.virsh('domcapabilities', ...words), /<machine>pc-i440fx-10\.2<\/machine>/);

  await libvirt.virsh('define', file('domain.xml', domain(libvirt.emulator)));
  await libvirt.virsh('start', 'pool');
  t.equal(await libvirt.virsh('domstate', 'pool'), 'running');
  t.match(await libvirt.virsh('ttyconsole', 'pool'), /^\/dev\/pts\/\d+$/);
  t.match(await libvirt.qmp('pool', { execute: 'query-name' }), { return: { name: 'pool' } });
  t.match(await libvirt.qmp('pool', { execute: 'nope' }), { error: { class: 'CommandNotFound' } });

  const events = libvirt.watch('pool');
  const [shmem, dimm] = [file('shmem.xml', SHMEM), file('dimm.xml', DIMM)];
  await libvirt.virsh('attach-device', 'pool', shmem, '--live');
  await libvirt.virsh('attach-device', 'pool', dimm, '--live');
  t.strictSame(await peripherals(), ['type', 'pci.1', 'pci.2', 'serial0', 'shmem0', 'dimm0']);
  const saved = file('saved', '');
  await t.rejects(libvirt.virsh('save', 'pool', saved), /'peer mode' in device 'ivshmem'/);
  await libvirt.virsh('suspend', 'pool');
  t.equal(await libvirt.virsh('domstate', 'pool'), 'paused');
  await libvirt.virsh('resume', 'pool');
  await libvirt.virsh('reset', 'pool');
  await libvirt.virsh('detach-device', 'pool', shmem, '--live');
  await libvirt.virsh('detach-device', 'pool', dimm, '--live');
  t.strictSame(await peripherals(), ['type', 'pci.1', 'pci.2', 'serial0'], 'detaching is complete');
  t.notMatch(await libvirt.virsh('dumpxml', 'pool'), /<shmem|<memory model/);
  const seen = [...(await events.stop()).matchAll(/event ([A-Z_]+) /g)].map(([, name]) => name);
  t.strictSame(seen, ['STOP', 'RESUME', 'RESET', 'DEVICE_DELETED', 'DEVICE_DELETED']);

  await libvirt.virsh('attach-device', 'pool', file('virtio-mem.xml', VIRTIO_MEM), '--live');
  const current = () => libvirt.virsh('dumpxml', 'pool');
  await eventually('libvirt learns the size', async () =>
    /<current[^>]*>65536</.test(await current()),
  );
  await libvirt.virsh('update-memory-device', 'pool', '--requested-size', '32MiB', '--live');
  await eventually('and its change', async () => /<current[^>]*>32768</.test(await current()));
  await libvirt.virsh('attach-device', 'pool', dimm, '--live');
  const stored = file('nvdimm.xml', nvdimm(libvirt.write('nvdimm.img', '')));
  await libvirt.virsh('attach-device', 'pool', stored, '--live');
  t.match(await libvirt.qmp('pool', { execute: 'query-memory-devices' }), {
    return: [
      { type: 'virtio-mem' },
      { type: 'dimm' },
      { type: 'nvdimm', data: { size: 64 << 20 } },
    ],
  });
  const policy = (value: string) =>
    libvirt.qmp('pool', {
      execute: 'qom-set',
      arguments: { path: '/machine', property: 'guest-policy', value },
    });
  await policy('reject');
  const refusals = libvirt.watch('pool');
  // virsh does not tell when it listens.
  await eventually('the refusal is an event, too', async () => {
    await t.rejects(
      libvirt.virsh('detach-device', 'pool', dimm, '--live'),
      /unplug of device was rejected by the guest/,
    );
    return /event DEVICE_UNPLUG_GUEST_ERROR .*"device":"dimm\d"/.test(refusals.text());
  });
  await refusals.stop();
  await policy('accept');
  await t.rejects(
    libvirt.virsh('detach-device', 'pool', stored, '--live'),
    /nvdimm device hot unplug is not supported yet/,
    'as QEMU',
  );
  const before = libvirt.domainProcess('pool');
  await libvirt.stop();
  await libvirt.start();
  t.equal(await libvirt.virsh('domstate', 'pool'), 'running', 'libvirt finds it again');
  t.equal(libvirt.domainProcess('pool'), before);
  t.match(await libvirt.virsh('dumpxml', 'pool'), /<memory model='dimm'>/);

  const busNumber = { id: 'pci.2', offset: 0x19, size: 1 };
  const secondary = async () =>
    libvirt.qmp('pool', { execute: 'guest-config-read', arguments: busNumber });
  await libvirt.qmp('pool', {
    execute: 'guest-config-write',
    arguments: { ...busNumber, value: 0x2a },
  });
  const devices = (await peripherals()).sort();
  for (const [away, back] of [
    [
      ['save', 'pool', saved],
      ['restore', saved],
    ],
    [
      ['managedsave', 'pool'],
      ['start', 'pool'],
    ],
  ] as const) {
    await libvirt.virsh(...away);
    t.equal(await libvirt.virsh('domstate', 'pool'), 'shut off');
    await eventually('the process ends', () => libvirt.domainProcess('pool') === undefined);
    await libvirt.virsh(...back);
    t.equal(await libvirt.virsh('domstate', 'pool'), 'running', `${away[0]} can be undone`);
    t.match(await secondary(), { return: { value: 0x2a } }, 'registers are as they were');
    t.strictSame((await peripherals()).sort(), devices);
    t.match(await current(), /<current[^>]*>32768</, 'and memory is as large');
  }

  await libvirt.virsh('destroy', 'pool');
  t.equal(await libvirt.virsh('domstate', 'pool'), 'shut off');
  await eventually('the process ends', () => libvirt.domainProcess('pool') === undefined);
});
