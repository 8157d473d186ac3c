import { DIRTY_PAGE } from '../../devices/core/dirty-log.js';
import { CTL_SIZE, readControl, writeControl } from '../../devices/state/ctl-registers.js';
import { StateError } from '../../devices/state/errno.js';
import type { StateRegions } from '../../devices/state/regions.js';
import { CAPABILITY } from '../../devices/state/target.js';
import { checkStart } from '../../devices/state/page-log.js';
import type * as deviceState from '../../schema/device-state.js';
import type { DeviceRehearsal, DeviceStateInfo } from '../../schema/device-state.js';
import { QmpError, refused } from '../../schema/error.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type { DeviceEntry } from '../machine/device-entry.js';
import { nameOf, stateName, stateNumber } from '../machine/device-state.js';
import type { Rehearsed } from '../state-files/rehearsal.js';
import { decodeBase64 } from './base64.js';
import type { CommandContext } from './context.js';

/** The most bytes that one access moves. */
const ACCESS_LIMIT = 4 * 1024 * 1024;
/** The most pages of one query: as many bytes of bitmap. */
const PAGES_LIMIT = 8 * ACCESS_LIMIT;

/** Runs `access`; what the device state refuses is told with its errno. @throws QmpError */
const told = <T>(what: string, access: () => T): T => {
  try {
    return access();
  } catch (error) {
    if (error instanceof StateError)
      throw refused(`${what}: ${error.errno}, ${error.message}`, error);
    throw error;
  }
};

const regionsOf = (entry: DeviceEntry): StateRegions => {
  const { regions } = entry.state;
  if (regions === undefined)
    throw refused(
      `device '${nameOf(entry)}' has no regions of its state: they come with a vfio-state device or x-vfio-state=on`,
    );
  return regions;
};
const checkLength = (name: string, length: number): void => {
  if (length > ACCESS_LIMIT)
    throw refused(`Parameter '${name}' expects at most ${String(ACCESS_LIMIT)} bytes`);
};

const infoOf = (entry: DeviceEntry): Infer<typeof DeviceStateInfo> => {
  const { id, object, type, state, activity } = entry;
  const info = told(`state of device '${nameOf(entry)}'`, () => state.info());
  const { regions } = state;
  const { DEVICE_MEMORY, SYSTEM_MEMORY } = CAPABILITY;
  return {
    ...(id === undefined ? {} : { device: id }),
    path: object.path,
    type: type.name,
    state: stateName(info.state),
    capabilities: [
      ...((info.capabilities & DEVICE_MEMORY) === 0 ? [] : (['device-memory'] as const)),
      ...((info.capabilities & SYSTEM_MEMORY) === 0 ? [] : (['system-memory'] as const)),
    ],
    pass: info.pass,
    pending: BigInt(info.pending),
    'dirty-pages': BigInt(info.dirtyPages),
    'dirty-system-pages': BigInt(info.dirtySystemPages),
    'config-size': BigInt(info.configSize),
    'memory-size': BigInt(info.memorySize),
    consistent: info.consistent,
    loading: info.loading,
    latched: activity.latch.latched,
    dropped: activity.latch.dropped,
    ...(regions === undefined ? {} : { regions: { 'ctl-size': CTL_SIZE, ...regions.lengths } }),
  };
};

const countBits = (bytes: Uint8Array): number => {
  let count = 0;
  for (const byte of bytes) for (let rest = byte; rest !== 0; rest &= rest - 1) count++;
  return count;
};

const shownRehearsal = (rehearsed: Rehearsed): Infer<typeof DeviceRehearsal> => ({
  passes: rehearsed.passes.map(({ bytes, pages }) => ({ bytes: BigInt(bytes), pages })),
  'stop-bytes': BigInt(rehearsed.stopBytes),
  'config-bytes': BigInt(rehearsed.configBytes),
  'digest-source': rehearsed.digestSource,
  'digest-target': rehearsed.digestTarget,
  'downtime-us': BigInt(rehearsed.downtime),
});

export const deviceStateHandlers = {
  'vfio-state-read': ({ id, region, offset, length }, { machine }) => {
    const entry = machine.devices.find(id);
    const regions = regionsOf(entry);
    checkLength('length', length);
    const bytes = told(
      `read of ${String(length)} bytes at ${String(offset)} in region '${region}' of device '${id}'`,
      () =>
        region === 'control'
          ? readControl(regions, offset, length)
          : regions.read(region, offset, length),
    );
    return { data: Buffer.from(bytes).toString('base64') };
  },
  'vfio-state-write': ({ id, region, offset, data }, { machine }) => {
    const entry = machine.devices.find(id);
    const regions = regionsOf(entry);
    const bytes = decodeBase64('data', data);
    checkLength('data', bytes.length);
    told(
      `write of ${String(bytes.length)} bytes at ${String(offset)} in region '${region}' of device '${id}'`,
      () => {
        if (region === 'control') writeControl(regions, offset, bytes);
        else regions.write(region, offset, bytes);
      },
    );
  },
  'device-state-set': ({ id, state }, { machine }) => {
    const entry = machine.devices.find(id);
    told(`device '${id}' cannot go to state '${state}'`, () =>
      entry.state.setState(stateNumber(state)),
    );
  },
  'device-state-rehearse': async (
    {
      source: from,
      target: to,
      'max-passes': maxPasses = 30,
      'dirty-limit': dirtyLimit = 65_536n,
      'auto-run': autoRun = false,
    },
    { machine, client },
  ) => {
    const [source, target] = [machine.devices.find(from), machine.devices.find(to)];
    const { Rehearsal } = await import('../state-files/rehearsal.js');
    const rehearsal = new Rehearsal({
      ...{ machine, source, target, maxPasses, autoRun, gone: client.gone },
      dirtyLimit: Number(dirtyLimit),
    });
    const what = `cannot rehearse the migration of device '${from}' into '${to}'`;
    try {
      return shownRehearsal(await rehearsal.run());
    } catch (error) {
      if (error instanceof StateError)
        throw refused(`${what}: ${error.errno}, ${error.message}`, error);
      if (error instanceof QmpError) throw refused(`${what}: ${error.message}`, error);
      throw error;
    }
  },
  'query-device-state': ({ id }, { machine }) =>
    (id === undefined ? [...machine.devices.entries] : [machine.devices.find(id)]).map(infoOf),
  'query-dirty-pages': (
    { id, memory = 'system', start = 0n, pages, clear = false },
    { machine },
  ) => {
    const entry = machine.devices.find(id);
    if (pages < 1 || pages > PAGES_LIMIT)
      throw refused(`Parameter 'pages' expects a value between 1 and ${String(PAGES_LIMIT)}`);
    if (clear && memory === 'device')
      throw refused("Parameter 'clear' is for system memory: passes take pages of device memory");
    const bitmap = told(`dirty pages of device '${id}'`, () => {
      if (memory === 'system') return entry.state.systemPages(start, BigInt(pages), clear);
      checkStart(start);
      return entry.state.devicePages(Number(start / BigInt(DIRTY_PAGE)), pages);
    });
    return {
      'page-size': DIRTY_PAGE,
      dirty: countBits(bitmap),
      bitmap: Buffer.from(bitmap).toString('base64'),
    };
  },
} satisfies Handlers<typeof deviceState, CommandContext>;
