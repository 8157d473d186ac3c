import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from '../core/device.js';

/** A saved number of 0 to `max`. @throws QmpError naming it */
export const savedNumber = (state: DeviceState, name: string, max: number): number => {
  const value = state[name];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max)
    throw refused(`saved state of the platform: '${name}' is no number up to ${String(max)}`);
  return value;
};

/** A saved big number of 0 to `max`. @throws QmpError naming it */
export const savedBits = (state: DeviceState, name: string, max: bigint): bigint => {
  const value = state[name];
  if (typeof value !== 'bigint' || value < 0n || value > max)
    throw refused(`saved state of the platform: '${name}' is no number up to ${String(max)}`);
  return value;
};

/** A saved map. @throws QmpError naming it */
export const savedMap = (value: StateValue | undefined, name: string): DeviceState => {
  if (typeof value !== 'object' || Array.isArray(value) || value instanceof Uint8Array)
    throw refused(`saved state of the platform: '${name}' is no map`);
  return value;
};

/** A saved list of maps. @throws QmpError naming it */
export const savedList = (state: DeviceState, name: string): DeviceState[] => {
  const value = state[name];
  if (!Array.isArray(value)) throw refused(`saved state of the platform: '${name}' is no list`);
  return value.map((item) => savedMap(item, name));
};
