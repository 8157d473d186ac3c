import type { PciFunction } from './function.js';
import { CAPABILITY, EXTENDED_CAPABILITY, PORT_TYPE } from './registers.js';
import type { PortType } from './registers.js';

/** PCI Express capability, version 2; offsets from its start. PCIe 5.0 §7.5.3. */
export const EXPRESS = {
  FLAGS: 0x02,
  DEVICE_CAPABILITIES: 0x04,
  DEVICE_CONTROL: 0x08,
  DEVICE_STATUS: 0x0a,
  LINK_CAPABILITIES: 0x0c,
  LINK_CONTROL: 0x10,
  LINK_STATUS: 0x12,
  SLOT_CAPABILITIES: 0x14,
  SLOT_CONTROL: 0x18,
  SLOT_STATUS: 0x1a,
  ROOT_CONTROL: 0x1c,
  ROOT_STATUS: 0x20,
  DEVICE_CAPABILITIES_2: 0x24,
  DEVICE_CONTROL_2: 0x28,
  LINK_CAPABILITIES_2: 0x2c,
  LINK_CONTROL_2: 0x30,
  SIZE: 0x3c,
} as const;

const FLAGS_VERSION = 2;
const FLAGS_SLOT = 0x100;
const ROLE_BASED_ERRORS = 0x8000;
const EXTENDED_TAG = 0x20;
const FUNCTION_RESET = 0x1000_0000;
const START_FUNCTION_RESET = 0x8000;
const ERROR_REPORTS = 0xf;
const ASPM_L0S = 0x400;
const LINK_ACTIVE_REPORTING = 0x10_0000;
const BANDWIDTH_NOTIFICATION = 0x20_0000;
/** Extended format field and end-to-end TLP prefixes. */
const PREFIX_SUPPORT = 0x30_0000;
const PREFIX_BLOCKING = 0x8000;
const ARI_FORWARDING = 0x20;
const ROOT_ERROR_ENABLES = 0x7;

/** Bits of the slot registers. PCIe 5.0 §7.5.3.9 to §7.5.3.11. */
export const SLOT = {
  ATTENTION_BUTTON: 0x1,
  POWER_CONTROLLER: 0x2,
  ATTENTION_INDICATOR: 0x8,
  POWER_INDICATOR: 0x10,
  SURPRISE: 0x20,
  HOTPLUG: 0x40,
  INTERLOCK: 0x2_0000,
} as const;
/** Everything of slot control but the power controller, which not every slot has. */
const SLOT_CONTROL_WRITABLE = 0x0bf9;
const SLOT_POWER_OFF = 0x400;
const SLOT_INDICATORS_OFF = 0x3c0;
const SLOT_EVENTS = 0x19;

export interface SlotOptions {
  readonly number: number;
  readonly hotplug: boolean;
  readonly powerController: boolean;
}

export interface ExpressOptions {
  readonly type: PortType;
  readonly at?: number;
  /** Port number in the link capabilities. */
  readonly port?: number;
  readonly slot?: SlotOptions;
  /** Speed code (1 = 2.5 GT/s, 4 = 16 GT/s) and width. Ports above a link report on it. */
  readonly link?: { readonly speed: number; readonly width: number };
  /** Offers function level reset. */
  readonly functionReset?: boolean;
  /** Property `x-pcie-ext-tag`; default true. */
  readonly extendedTag?: boolean;
  /** Property `x-pcie-extcap-init`: 0x100 reads as an empty list. Default true. */
  readonly extendedInit?: boolean;
}

const isPort = (type: number | undefined): boolean =>
  type === PORT_TYPE.ROOT_PORT || type === PORT_TYPE.UPSTREAM || type === PORT_TYPE.DOWNSTREAM;

/**
 * The type an endpoint has to report at its place: integrated into the root complex directly on an
 * express root bus, else an endpoint.
 */
export const endpointType = (fn: PciFunction): PortType =>
  fn.bus?.isRoot === true && fn.bus.express ? PORT_TYPE.ROOT_COMPLEX_ENDPOINT : PORT_TYPE.ENDPOINT;

/**
 * Adds the PCI Express capability; slot behaviour beyond the bytes is the port's own.
 *
 * @returns its offset
 * @see reference/pci-and-memory-devices.md §1.8
 */
export const addPcieCapability = (fn: PciFunction, options: ExpressOptions): number => {
  const { config } = fn;
  const { type, slot } = options;
  const at = fn.addCapability(CAPABILITY.EXPRESS, EXPRESS.SIZE, options.at);
  config.set(at + EXPRESS.FLAGS, 2, FLAGS_VERSION | (type << 4) | (slot ? FLAGS_SLOT : 0));
  addDeviceRegisters(fn, at, options);
  addLinkRegisters(fn, at, options);
  if (slot !== undefined) addSlotRegisters(fn, at, slot);
  if (type === PORT_TYPE.ROOT_PORT)
    config.setWritable(at + EXPRESS.ROOT_CONTROL, 2, ROOT_ERROR_ENABLES);
  if (options.extendedInit !== false && fn.config.extendedCapabilities().length === 0)
    config.setWritable(0x100, 4, 0);
  return at;
};

const addDeviceRegisters = (fn: PciFunction, at: number, options: ExpressOptions): void => {
  const { config } = fn;
  const { type, extendedTag = true, functionReset = false } = options;
  const offered =
    ROLE_BASED_ERRORS | (extendedTag ? EXTENDED_TAG : 0) | (functionReset ? FUNCTION_RESET : 0);
  config.set(at + EXPRESS.DEVICE_CAPABILITIES, 4, offered);
  const control = ERROR_REPORTS | (functionReset ? START_FUNCTION_RESET : 0);
  config.setWritable(at + EXPRESS.DEVICE_CONTROL, 2, control);
  config.setClearable(at + EXPRESS.DEVICE_STATUS, 2, ERROR_REPORTS);
  const forwards = type === PORT_TYPE.ROOT_PORT || type === PORT_TYPE.DOWNSTREAM;
  const ari = forwards ? ARI_FORWARDING : 0;
  config.set(at + EXPRESS.DEVICE_CAPABILITIES_2, 4, PREFIX_SUPPORT | ari);
  config.setWritable(at + EXPRESS.DEVICE_CONTROL_2, 2, PREFIX_BLOCKING | ari);
  if (functionReset) onFunctionReset(fn, at + EXPRESS.DEVICE_CONTROL);
  const controls = [EXPRESS.DEVICE_CONTROL, EXPRESS.DEVICE_STATUS, EXPRESS.DEVICE_CONTROL_2];
  fn.addPart('express', {
    reset: () => {
      for (const register of [...controls, EXPRESS.ROOT_CONTROL]) config.set(at + register, 2, 0);
    },
  });
};

/** The trigger resets the device and always reads 0. */
const onFunctionReset = (fn: PciFunction, control: number): void => {
  fn.onConfigWrite(() => {
    const value = fn.config.get(control, 2);
    if ((value & START_FUNCTION_RESET) === 0) return;
    fn.config.set(control, 2, value & ~START_FUNCTION_RESET);
    fn.resetDevice('warm');
  });
};

const addLinkRegisters = (fn: PciFunction, at: number, options: ExpressOptions): void => {
  const { config } = fn;
  const { speed = 1, width = 1 } = options.link ?? {};
  const link = speed | (width << 4);
  const port = (options.port ?? 0) * 2 ** 24;
  config.set(at + EXPRESS.LINK_STATUS, 2, link);
  const reports = options.link !== undefined && isAboveLink(options.type);
  const capabilities = link | ASPM_L0S | (reports ? linkReports(speed, width) : 0);
  config.set(at + EXPRESS.LINK_CAPABILITIES, 4, port + capabilities);
  // As QEMU: slow links do not list what faster ones must.
  if (speed > 2) config.set(at + EXPRESS.LINK_CAPABILITIES_2, 4, 2 ** (speed + 1) - 2);
  if (speed > 1) config.set(at + EXPRESS.LINK_CONTROL_2, 2, speed);
};

/** Ports that report on the link below them. */
const isAboveLink = (type: PortType): boolean =>
  type === PORT_TYPE.ROOT_PORT || type === PORT_TYPE.DOWNSTREAM;

const linkReports = (speed: number, width: number): number =>
  (speed > 1 ? LINK_ACTIVE_REPORTING : 0) | (speed > 1 || width > 1 ? BANDWIDTH_NOTIFICATION : 0);

const addSlotRegisters = (fn: PciFunction, at: number, slot: SlotOptions): void => {
  const { config } = fn;
  const always =
    SLOT.ATTENTION_BUTTON | SLOT.ATTENTION_INDICATOR | SLOT.POWER_INDICATOR | SLOT.INTERLOCK;
  const hotplug = slot.hotplug ? SLOT.SURPRISE | SLOT.HOTPLUG : 0;
  const power = slot.powerController ? SLOT.POWER_CONTROLLER : 0;
  config.set(at + EXPRESS.SLOT_CAPABILITIES, 4, slot.number * 2 ** 19 + (always | hotplug | power));
  config.set(at + EXPRESS.SLOT_CONTROL, 2, SLOT_INDICATORS_OFF);
  const writable = SLOT_CONTROL_WRITABLE | (slot.powerController ? SLOT_POWER_OFF : 0);
  config.setWritable(at + EXPRESS.SLOT_CONTROL, 2, writable);
  config.setClearable(at + EXPRESS.SLOT_STATUS, 2, SLOT_EVENTS);
};

export interface PowerManagementOptions {
  readonly at?: number;
  readonly d1?: boolean;
  readonly d2?: boolean;
  /** Registers survive a return to D0. Default true. */
  readonly noSoftReset?: boolean;
}

/** Adds the power management capability; the function stops decoding outside D0. */
export const addPowerManagement = (
  fn: PciFunction,
  options: PowerManagementOptions = {},
): number => {
  const at = fn.addCapability(CAPABILITY.POWER_MANAGEMENT, 8, options.at);
  fn.config.set(at + 2, 2, 3 | (options.d1 ? 0x200 : 0) | (options.d2 ? 0x400 : 0));
  fn.config.set(at + 4, 2, options.noSoftReset === false ? 0 : 0x8);
  fn.config.setWritable(at + 4, 2, 0x3);
  return at;
};

/** Adds the subsystem ids of a bridge, whose header has no room for them. */
export const addSsvid = (fn: PciFunction, vendor: number, id: number, at?: number): number => {
  const offset = fn.addCapability(CAPABILITY.SUBSYSTEM_IDS, 8, at);
  fn.config.set(offset + 4, 2, vendor);
  fn.config.set(offset + 6, 2, id);
  return offset;
};

/** Adds a vendor-specific capability around `body`, which follows the length byte. */
export const addVendorCapability = (fn: PciFunction, body: Uint8Array, at?: number): number => {
  const size = body.length + 3;
  const offset = fn.addCapability(CAPABILITY.VENDOR, size, at);
  fn.config.set(offset + 2, 1, size);
  fn.config.bytes.set(body, offset + 3);
  return offset;
};

export const addSerialNumber = (fn: PciFunction, serial: bigint, at?: number): number => {
  const offset = fn.addExtendedCapability(EXTENDED_CAPABILITY.SERIAL_NUMBER, 1, 12, at);
  fn.config.set64(offset + 4, serial);
  return offset;
};

export interface DvsecOptions {
  readonly vendor: number;
  readonly id: number;
  readonly revision: number;
  /** What follows the 10 bytes of headers. */
  readonly body: Uint8Array;
  readonly at?: number;
}

/** Adds a designated vendor-specific extended capability. PCIe 5.0 §7.9.6. */
export const addDvsec = (fn: PciFunction, options: DvsecOptions): number => {
  const size = 0x0a + options.body.length;
  const at = fn.addExtendedCapability(EXTENDED_CAPABILITY.DVSEC, 1, size, options.at);
  fn.config.set(at + 4, 2, options.vendor);
  fn.config.set(at + 6, 2, options.revision | (size << 4));
  fn.config.set(at + 8, 2, options.id);
  fn.config.bytes.set(options.body, at + 0x0a);
  return at;
};

/** Advanced error reporting; offsets from its start. PCIe 5.0 §7.8.4. */
export const AER = {
  UNCORRECTABLE_STATUS: 0x04,
  UNCORRECTABLE_MASK: 0x08,
  UNCORRECTABLE_SEVERITY: 0x0c,
  CORRECTABLE_STATUS: 0x10,
  CORRECTABLE_MASK: 0x14,
  CONTROL: 0x18,
  HEADER_LOG: 0x1c,
  ROOT_COMMAND: 0x2c,
  ROOT_STATUS: 0x30,
  SOURCE_ID: 0x34,
  SIZE: 0x48,
} as const;

const UNCORRECTABLE = 0x03ff_f030;
const UNCORRECTABLE_FATAL = 0x0046_2030;
/** Masked by default: internal errors and blocked TLP prefixes. */
const UNCORRECTABLE_MASKED = 0x0240_0000;
const CORRECTABLE = 0xf1c1;
const CORRECTABLE_MASKED = 0xe000;
const ECRC_CAPABLE = 0xa0;
const ECRC_ENABLES = 0x140;
const MULTI_HEADER_CAPABLE = 0x200;
const MULTI_HEADER_ENABLE = 0x400;
const ROOT_ERRORS = 0x7f;

/**
 * Adds advanced error reporting. Ports (by the PCI Express capability, which must be there) record
 * several headers; root ports have the root registers too.
 */
export const addAer = (fn: PciFunction, options: { readonly at?: number } = {}): number => {
  const { config, portType } = fn;
  const at = fn.addExtendedCapability(EXTENDED_CAPABILITY.AER, 2, AER.SIZE, options.at);
  config.setClearable(at + AER.UNCORRECTABLE_STATUS, 4, UNCORRECTABLE);
  config.set(at + AER.UNCORRECTABLE_MASK, 4, UNCORRECTABLE_MASKED);
  config.setWritable(at + AER.UNCORRECTABLE_MASK, 4, UNCORRECTABLE);
  config.set(at + AER.UNCORRECTABLE_SEVERITY, 4, UNCORRECTABLE_FATAL);
  config.setWritable(at + AER.UNCORRECTABLE_SEVERITY, 4, UNCORRECTABLE);
  config.setClearable(at + AER.CORRECTABLE_STATUS, 4, CORRECTABLE);
  config.set(at + AER.CORRECTABLE_MASK, 4, CORRECTABLE_MASKED);
  config.setWritable(at + AER.CORRECTABLE_MASK, 4, CORRECTABLE);
  const several = isPort(portType);
  config.set(at + AER.CONTROL, 4, ECRC_CAPABLE | (several ? MULTI_HEADER_CAPABLE : 0));
  config.setWritable(at + AER.CONTROL, 4, ECRC_ENABLES | (several ? MULTI_HEADER_ENABLE : 0));
  if (portType === PORT_TYPE.ROOT_PORT) {
    config.setWritable(at + AER.ROOT_COMMAND, 4, ROOT_ERROR_ENABLES);
    config.setClearable(at + AER.ROOT_STATUS, 4, ROOT_ERRORS);
  }
  return at;
};

const ACS_CONTROLS = 0x5f;

/** Adds access control services: every control that a port without peers behind it can offer. */
export const addAcs = (fn: PciFunction, options: { readonly at?: number } = {}): number => {
  const at = fn.addExtendedCapability(EXTENDED_CAPABILITY.ACS, 1, 8, options.at);
  fn.config.set(at + 4, 2, ACS_CONTROLS);
  fn.config.setWritable(at + 6, 2, ACS_CONTROLS);
  return at;
};
