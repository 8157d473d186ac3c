import type { Infer } from '../../schema/lang.js';
import type {
  PciBridgeInfo,
  PciBusInfo,
  PciDeviceClass,
  PciDeviceId,
  PciDeviceInfo,
  PciInfo,
  PciMemoryRegion,
} from '../../schema/pci.js';
import { decodeWindows } from './bridge-windows.js';
import type { BarInfo } from './bars.js';
import type { PciBus } from './bus.js';
import { CLASS_NAMES } from './class-names.js';
import type { ConfigSpace } from './config-space.js';
import type { PciFunction } from './function.js';
import { BRIDGE, CONFIG, HEADER_TYPE } from './registers.js';

/**
 * The answer of `query-pci`, from configuration bytes alone.
 *
 * @param roots root buses, most recently created first
 * @see reference/pci-and-memory-devices.md §2
 */
export const queryPci = (roots: readonly PciBus[]): PciInfo[] =>
  roots.map((root) => ({
    bus: BigInt(root.number),
    devices: describeBus(root, root, root.number),
  }));

const describeBus = (root: PciBus, bus: PciBus, number: number): PciDeviceInfo[] =>
  bus.functions.map((fn) => describeFunction(root, fn, number));

const describeFunction = (root: PciBus, fn: PciFunction, bus: number): PciDeviceInfo => {
  const { config } = fn;
  const pin = config.get(CONFIG.INTERRUPT_PIN, 1);
  const info: PciDeviceInfo = {
    bus: BigInt(bus),
    slot: BigInt(fn.slot),
    function: BigInt(fn.devfn & 7),
    class_info: describeClass(config),
    id: describeId(config),
    irq_pin: BigInt(pin),
    qdev_id: fn.id ?? '',
    regions: fn.bars.map(describeBar),
  };
  if (pin !== 0) info.irq = BigInt(config.get(CONFIG.INTERRUPT_LINE, 1));
  if (isBridge(config)) info.pci_bridge = describeBridge(root, fn);
  return info;
};

const isBridge = (config: ConfigSpace): boolean =>
  (config.get(CONFIG.HEADER_TYPE, 1) & ~HEADER_TYPE.MULTIFUNCTION) === HEADER_TYPE.BRIDGE;

const describeClass = (config: ConfigSpace): Infer<typeof PciDeviceClass> => {
  const code = config.get(CONFIG.CLASS, 2);
  const desc = CLASS_NAMES[code];
  return desc === undefined ? { class: BigInt(code) } : { desc, class: BigInt(code) };
};

const describeId = (config: ConfigSpace): Infer<typeof PciDeviceId> => {
  const id = {
    device: BigInt(config.get(CONFIG.DEVICE_ID, 2)),
    vendor: BigInt(config.get(CONFIG.VENDOR_ID, 2)),
  };
  if (isBridge(config)) return id;
  return {
    ...id,
    subsystem: BigInt(config.get(CONFIG.SUBSYSTEM_ID, 2)),
    'subsystem-vendor': BigInt(config.get(CONFIG.SUBSYSTEM_VENDOR_ID, 2)),
  };
};

const describeBar = (bar: BarInfo): Infer<typeof PciMemoryRegion> => {
  const region = {
    bar: BigInt(bar.index),
    type: bar.type,
    address: bar.address,
    size: bar.size,
  };
  if (bar.type === 'io') return region;
  return { ...region, prefetch: bar.prefetch, mem_type_64: bar.bits64 };
};

/** What lies behind is shown when accesses get there: to this bus, not to another of its number. */
const describeBridge = (root: PciBus, fn: PciFunction): PciBridgeInfo => {
  const bus = describeNumbers(fn.config);
  const { secondaryBus } = fn;
  const secondary = fn.config.get(BRIDGE.SECONDARY_BUS, 1);
  if (secondary === 0 || secondaryBus === undefined || root.findBus(secondary) !== secondaryBus)
    return { bus };
  return { bus, devices: describeBus(root, secondaryBus, secondary) };
};

const describeNumbers = (config: ConfigSpace): Infer<typeof PciBusInfo> => {
  const { io, memory, prefetch } = decodeWindows(config);
  return {
    number: BigInt(config.get(BRIDGE.PRIMARY_BUS, 1)),
    secondary: BigInt(config.get(BRIDGE.SECONDARY_BUS, 1)),
    subordinate: BigInt(config.get(BRIDGE.SUBORDINATE_BUS, 1)),
    io_range: { ...io },
    memory_range: { ...memory },
    prefetchable_range: { ...prefetch },
  };
};
