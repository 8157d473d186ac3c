import type { ConfigSpace } from './config-space.js';
import { BRIDGE, COMMAND, CONFIG, HEADER_TYPE, STATUS } from './registers.js';

/** What a function says it is; all read-only to software. */
export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  readonly revision: number;
  /** Base class and subclass, 16 bits. */
  readonly classCode: number;
  readonly progIf?: number;
  /** 1af4:1100 when absent; endpoints only. */
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  /** 0 none, 1 to 4 INTA to INTD. */
  readonly interruptPin?: number;
  /** PCI Express: 4096 bytes of configuration space instead of 256. */
  readonly express: boolean;
  readonly header?: 'endpoint' | 'bridge';
}

const DEFAULT_SUBSYSTEM = { vendor: 0x1af4, id: 0x1100 } as const;

const WRITABLE_COMMAND =
  COMMAND.IO | COMMAND.MEMORY | COMMAND.MASTER | COMMAND.SERR | COMMAND.INTX_DISABLE;

/**
 * Writes identity and masks of the first 64 bytes; windows and bus numbers of a bridge belong to
 * `BridgeWindows`.
 *
 * @see reference/pci-and-memory-devices.md §1.3, §1.4
 */
export const initHeader = (config: ConfigSpace, identity: PciIdentity): void => {
  config.set(CONFIG.VENDOR_ID, 2, identity.vendorId);
  config.set(CONFIG.DEVICE_ID, 2, identity.deviceId);
  config.set(CONFIG.REVISION, 1, identity.revision);
  config.set(CONFIG.PROG_IF, 1, identity.progIf ?? 0);
  config.set(CONFIG.CLASS, 2, identity.classCode);
  config.set(CONFIG.INTERRUPT_PIN, 1, identity.interruptPin ?? 0);
  config.setWritable(CONFIG.COMMAND, 2, WRITABLE_COMMAND);
  config.setClearable(CONFIG.STATUS, 2, STATUS.WRITE_1_CLEAR);
  config.setWritable(CONFIG.CACHE_LINE_SIZE, 1, 0xff);
  config.setWritable(CONFIG.INTERRUPT_LINE, 1, 0xff);
  if (identity.header === 'bridge') {
    config.set(CONFIG.HEADER_TYPE, 1, HEADER_TYPE.BRIDGE);
    for (const register of [BRIDGE.PRIMARY_BUS, BRIDGE.SECONDARY_BUS, BRIDGE.SUBORDINATE_BUS])
      config.setWritable(register, 1, 0xff);
  } else {
    config.set(
      CONFIG.SUBSYSTEM_VENDOR_ID,
      2,
      identity.subsystemVendorId ?? DEFAULT_SUBSYSTEM.vendor,
    );
    config.set(CONFIG.SUBSYSTEM_ID, 2, identity.subsystemId ?? DEFAULT_SUBSYSTEM.id);
  }
};

/** Clears what a reset of any function clears. */
export const resetHeader = (config: ConfigSpace): void => {
  config.set(CONFIG.COMMAND, 2, config.get(CONFIG.COMMAND, 2) & ~WRITABLE_COMMAND);
  config.set(CONFIG.STATUS, 2, config.get(CONFIG.STATUS, 2) & ~STATUS.WRITE_1_CLEAR);
  config.set(CONFIG.CACHE_LINE_SIZE, 1, 0);
  config.set(CONFIG.INTERRUPT_LINE, 1, 0);
};
