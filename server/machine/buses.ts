import type { DeviceType } from '../../devices/core/device.js';
import type { PciBus } from '../../devices/pci/bus.js';
import { deviceNotFound, refused } from '../../schema/error.js';

/** What finding a bus needs to know of the devices on it. */
export interface BusTree {
  /** Root buses, most recently created first. */
  readonly roots: readonly PciBus[];
  /** Host bridges of the main system bus, by type. */
  readonly hosts: readonly { readonly typeName: string; readonly bus: PciBus }[];
  /** Child buses of the devices on `bus`, newest device first. */
  childBuses(bus: PciBus): readonly PciBus[];
  /** Buses of the device named `name` (id, type or alias) on `bus`; undefined if there is none. */
  busesOfDevice(bus: PciBus, name: string): readonly PciBus[] | undefined;
}

const firstByName = (tree: BusTree, buses: readonly PciBus[], name: string): PciBus | undefined => {
  for (const bus of buses) {
    if (bus.name === name) return bus;
    const below = firstByName(tree, tree.childBuses(bus), name);
    if (below !== undefined) return below;
  }
  return undefined;
};

/** Follows `device/bus/device/...` below `bus`. */
const follow = (tree: BusTree, start: PciBus, parts: readonly string[]): PciBus => {
  let bus = start;
  for (let i = 0; i < parts.length; i += 2) {
    const deviceName = parts[i] ?? '';
    const children = tree.busesOfDevice(bus, deviceName);
    if (children === undefined) throw deviceNotFound(deviceName);
    const busName = parts[i + 1];
    bus = busName === undefined ? onlyBus(children, deviceName) : busOf(children, busName);
  }
  return bus;
};
const onlyBus = (buses: readonly PciBus[], deviceName: string): PciBus => {
  const [bus, second] = buses;
  if (bus === undefined) throw refused(`Device '${deviceName}' has no child bus`);
  if (second !== undefined) throw refused(`Device '${deviceName}' has multiple child buses`);
  return bus;
};
const busOf = (buses: readonly PciBus[], name: string): PciBus => {
  const bus = buses.find((candidate) => candidate.name === name);
  if (bus === undefined) throw refused(`Bus '${name}' not found`);
  return bus;
};

const SYSTEM_BUS = 'main-system-bus';

/** Follows a path that starts at the main system bus: `/host/bus/device/...`. */
const followFromTop = (tree: BusTree, type: DeviceType, path: readonly string[]): PciBus => {
  const [hostName, ...parts] = path;
  if (hostName === undefined) throw refused(`Device '${type.name}' can't go on System bus`);
  const host = tree.hosts.find(({ typeName }) => typeName === hostName);
  if (host === undefined) throw deviceNotFound(hostName);
  const [busName, ...rest] = parts;
  return busName === undefined ? host.bus : follow(tree, busOf([host.bus], busName), rest);
};

/**
 * Finds the bus that `device_add` names, or the default one: the most recently created root.
 *
 * @throws QmpError with the texts of reference/pci-and-memory-devices.md §3.4
 */
export const findBus = (tree: BusTree, type: DeviceType, path: string | undefined): PciBus => {
  if (path === undefined) {
    const bus = tree.roots[0];
    if (bus === undefined) throw refused(`No 'PCI' bus found for device '${type.name}'`);
    return bus;
  }
  const parts = path.split('/').filter((part) => part !== '');
  if (path.startsWith('/')) return followFromTop(tree, type, parts);
  const [first = '', ...rest] = parts;
  if (first === SYSTEM_BUS) return followFromTop(tree, type, rest);
  const bus = firstByName(tree, tree.roots, first);
  if (bus === undefined) throw refused(`Bus '${first}' not found`);
  return follow(tree, bus, rest);
};
