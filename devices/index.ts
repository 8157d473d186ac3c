import type { DeviceType } from './core/device.js';
import { cxlDownstream } from './cxl-downstream/index.js';
import { cxlMhsld } from './cxl-mhsld/index.js';
import { cxlRootPort } from './cxl-rp/index.js';
import { cxlSwitchMailboxCci } from './cxl-switch-mailbox-cci/index.js';
import { cxlUpstream } from './cxl-upstream/index.js';
import { cxlType3 } from './cxl-type3/index.js';
import { dynamicMdevice } from './dynamic-mdevice/index.js';
import { edu } from './edu/index.js';
import { iopmem } from './iopmem/index.js';
import { isaSerial } from './isa-serial/index.js';
import { ivshmemCommon } from './ivshmem/common-type.js';
import { ivshmemDoorbell } from './ivshmem-doorbell/index.js';
import { ivshmemPlain } from './ivshmem-plain/index.js';
import { nvdimm, pcDimm } from './pc-dimm/index.js';
import { pciBridge } from './pci-bridge/index.js';
import { pciePciBridge } from './pcie-pci-bridge/index.js';
import { pcieRootPort } from './pcie-root-port/index.js';
import { pxbCxl } from './pxb-cxl/index.js';
import { pxb, pxbPcie } from './pxb-pcie/index.js';
import { shmPci } from './shm-pci/index.js';
import { stateSample } from './state-sample/index.js';
import { vfioState } from './vfio-state/index.js';
import { virtioMemPci } from './virtio-mem-pci/index.js';
import { virtioShmemPci } from './virtio-shmem-pci/index.js';

/** Every device type, by the folder that it lies in. */
export const userDeviceTypes: readonly DeviceType[] = [
  cxlDownstream,
  cxlMhsld,
  cxlRootPort,
  cxlSwitchMailboxCci,
  cxlUpstream,
  cxlType3,
  dynamicMdevice,
  edu,
  iopmem,
  isaSerial,
  ivshmemCommon,
  ivshmemDoorbell,
  ivshmemPlain,
  nvdimm,
  pcDimm,
  pciBridge,
  pciePciBridge,
  pcieRootPort,
  pxb,
  pxbCxl,
  pxbPcie,
  shmPci,
  stateSample,
  vfioState,
  virtioMemPci,
  virtioShmemPci,
];

/**
 * Types that nobody makes by `device_add`: what stands above the models, parts of the board, buses,
 * backends and other objects.
 */
export const plainTypes = [
  { name: 'object', abstract: true },
  { name: 'container', parent: 'object' },
  { name: 'machine', parent: 'object', abstract: true },
  { name: 'none-machine', parent: 'machine' },
  { name: 'pc-i440fx-10.2-machine', parent: 'machine' },
  { name: 'pc-q35-10.2-machine', parent: 'machine' },
  { name: 'accel', parent: 'object', abstract: true },
  { name: 'tcg-accel', parent: 'accel' },
  { name: 'qtest-accel', parent: 'accel' },
  { name: 'device', parent: 'object', abstract: true },
  { name: 'isa-device', parent: 'device', abstract: true },
  { name: 'pci-device', parent: 'device', abstract: true },
  ...['i440FX', 'PIIX3', 'PIIX4_PM', 'mch', 'ICH9-LPC', 'ICH9-SMB'].map((name) => ({
    name,
    parent: 'pci-device',
  })),
  { name: 'i440FX-pcihost', parent: 'device' },
  { name: 'q35-pcihost', parent: 'device' },
  { name: 'ioapic-common', parent: 'device', abstract: true },
  { name: 'ioapic', parent: 'ioapic-common' },
  { name: 'virtio-pci', parent: 'pci-device', abstract: true },
  { name: 'virtio-mem-pci-base', parent: 'virtio-pci', abstract: true },
  { name: 'base-pci-bridge', parent: 'pci-device', abstract: true },
  { name: 'bus', parent: 'object', abstract: true },
  { name: 'ISA', parent: 'bus' },
  { name: 'PCI', parent: 'bus' },
  { name: 'PCIE', parent: 'PCI' },
  { name: 'pxb-pcie-bus', parent: 'PCIE' },
  { name: 'CXL', parent: 'PCIE' },
  { name: 'pxb-cxl-bus', parent: 'CXL' },
  { name: 'memory-backend', parent: 'object', abstract: true },
  { name: 'memory-backend-ram', parent: 'memory-backend' },
  { name: 'memory-backend-file', parent: 'memory-backend' },
  { name: 'memory-backend-memfd', parent: 'memory-backend' },
  { name: 'memory-backend-shm', parent: 'memory-backend' },
  { name: 'secret', parent: 'object' },
  { name: 'iothread', parent: 'object' },
  { name: 'rng-builtin', parent: 'object' },
  { name: 'rng-egd', parent: 'object' },
  { name: 'rng-random', parent: 'object' },
] as const;
