import { asAttachmentHolder, DynamicMdeviceDriver } from '../../devices/dynamic-mdevice/index.js';
import { CxlDriver } from '../../devices/cxl/driver.js';
import { asCxlMemoryDevice } from '../../devices/cxl/type3.js';
import { QmpError, refused } from '../../schema/error.js';
import type { DeviceEntry } from './device-entry.js';
import { FunctionAccess } from './guest-access.js';
import type { Machine } from './machine.js';

/** The built-in drivers' ways to the devices of one machine, one per device. */
export class GuestDrivers {
  readonly #access = new WeakMap<DeviceEntry, FunctionAccess>();
  readonly #cxl = new WeakMap<DeviceEntry, CxlDriver>();
  /** Devices whose driver runs as soon as they go on. */
  readonly #waiting = new WeakSet<DeviceEntry>();

  access(machine: Machine, entry: DeviceEntry, name: string): FunctionAccess {
    const known = this.#access.get(entry);
    if (known !== undefined) return known;
    if (entry.pci === undefined) throw refused(`device '${name}' is no PCI device`);
    const { messages } = machine.platform;
    const access = new FunctionAccess(entry.pci.pci, { name, messages });
    this.#access.set(entry, access);
    return access;
  }

  /** Runs `work` of a driver now, or once when the device may act again, if it is still there. */
  whenActive(entry: DeviceEntry, work: () => void): void {
    if (this.#waiting.has(entry)) return;
    this.#waiting.add(entry);
    entry.activity.whenActive(() => {
      this.#waiting.delete(entry);
      if (entry.realized) work();
    });
  }

  /** The driver of a device with a CXL mailbox; it remembers what it was offered. */
  cxl(machine: Machine, entry: DeviceEntry, name: string): CxlDriver {
    const known = this.#cxl.get(entry);
    if (known !== undefined) return known;
    const driver = new CxlDriver(this.access(machine, entry, name));
    this.#cxl.set(entry, driver);
    return driver;
  }
}

/**
 * Runs `work` with the driver of a dynamic-mdevice. The machine's turn is given up meanwhile: the
 * guest side may take its time.
 *
 * @throws QmpError when there is no such device, or it has no memory to attach
 */
export const withMemDriver = <T>(
  machine: Machine,
  name: string,
  signal: AbortSignal,
  work: (driver: DynamicMdeviceDriver) => Promise<T>,
): Promise<T> => {
  const entry = machine.devices.find(name);
  const holder = asAttachmentHolder(entry.device);
  if (holder === undefined)
    throw refused(`device '${name}' is a ${entry.type.name}: memory cannot be attached to it`);
  const access = machine.drivers.access(machine, entry, name);
  const driver = new DynamicMdeviceDriver(access, holder, { signal });
  return machine.turn.outside(work(driver));
};

/**
 * Runs `work` with the driver of a device with a CXL mailbox; the machine's turn is given up
 * meanwhile.
 *
 * @throws QmpError when there is no such device, or it has no mailbox
 */
export const withCxlDriver = <T>(
  machine: Machine,
  name: string,
  work: (driver: CxlDriver) => Promise<T>,
): Promise<T> => {
  const entry = machine.devices.find(name);
  return machine.turn.outside(work(machine.drivers.cxl(machine, entry, name)));
};

/**
 * Lets the built-in driver answer what a CXL memory device offers or asks for, as a guest that is
 * up does. Nothing happens with `guest-policy=manual`, or where there is no such driver.
 */
export const wakeDriver = (machine: Machine, path: string): void => {
  if (machine.guestPolicy === 'manual') return;
  machine.defer(() => {
    const entry = [...machine.devices.entries].find(({ object }) => object.path === path);
    if (entry === undefined) return;
    if (asCxlMemoryDevice(entry.device)?.state.manager === undefined) return;
    machine.drivers.whenActive(entry, () => answerAll(machine, entry));
  });
};

const answerAll = (machine: Machine, entry: DeviceEntry): void => {
  const { path } = entry.object;
  const action = machine.guestPolicy;
  if (action === 'manual') return;
  machine.drivers
    .cxl(machine, entry, entry.id ?? path)
    .answerAll(action)
    .catch((error: unknown) => {
      const { log } = machine.options;
      // Stopped in the middle of it: the rest is answered when the device goes on.
      if (entry.activity.stopped)
        machine.drivers.whenActive(entry, () => answerAll(machine, entry));
      // What a device refuses stays as it is, as with a guest that has no such driver.
      else if (error instanceof QmpError) log.info({ path, reason: error.message }, 'not answered');
      else log.error({ path, err: error }, 'built-in driver failed');
    });
};
