import type { MemoryBackend } from '../../devices/backends/memory-backend.js';
import { asFlushableDevice } from '../../devices/core/flushable-device.js';
import { HostError } from '../../devices/core/host-memory.js';
import { deviceNotFound, refused } from '../../schema/error.js';
import type { Machine } from './machine.js';
import { resolvePath } from './qom.js';

/** Memory that can be written back to its file. */
interface Flushable {
  flush(): Promise<void>;
}

/**
 * Writes the shared memory of a device, or of a memory backend, back to its file. The machine's
 * turn is given up meanwhile.
 *
 * @param name id of a device, else of a backend; or an object path
 * @throws QmpError when there is no such thing, it has no shared memory, or the host fails
 */
export const flushMemory = (machine: Machine, name: string): Promise<void> => {
  const memory = findMemory(machine, name);
  return machine.turn.outside(flushAll(memory, name));
};

/** Writes all shared memory of the machine back to its files; what fails is logged. Never rejects. */
export const flushEverything = async (machine: Machine): Promise<void> => {
  const own = [...machine.devices.entries].flatMap(({ device }) => asFlushableDevice(device) ?? []);
  const backends = [...machine.objects.backends].filter(({ shared }) => shared);
  const outcomes = await Promise.allSettled([...own, ...backends].map((one) => one.flush()));
  for (const outcome of outcomes)
    if (outcome.status === 'rejected')
      machine.options.log.warn(
        { err: outcome.reason as unknown },
        'memory not written to its file',
      );
};

const flushAll = async (memory: readonly Flushable[], name: string): Promise<void> => {
  try {
    await Promise.all(memory.map((one) => one.flush()));
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    throw refused(`cannot flush the memory of '${name}': ${error.message}`, error);
  }
};

const findMemory = (machine: Machine, name: string): readonly Flushable[] => {
  const backend = findBackend(machine, name);
  if (backend === undefined) return memoryOfDevice(machine, name);
  if (!backend.shared) throw refused(`memory backend '${name}' is not shared (share=off)`);
  return [backend];
};

const findBackend = (machine: Machine, name: string): MemoryBackend | undefined => {
  const backends = [...machine.objects.backends];
  if (name.startsWith('/')) {
    const found = resolvePath(machine.root, name);
    const instance = found.kind === 'found' ? found.object.instance : undefined;
    return backends.find((backend) => backend === instance);
  }
  if (machine.devices.has(name)) return undefined;
  const backend = backends.find(({ id }) => id === name);
  if (backend === undefined) throw deviceNotFound(name);
  return backend;
};

const memoryOfDevice = (machine: Machine, name: string): readonly Flushable[] => {
  const { device, object } = machine.devices.find(name);
  const held = [...machine.objects.backends].filter(
    ({ owner, shared }) => shared && owner === object.path,
  );
  const own = asFlushableDevice(device);
  if (own === undefined && held.length === 0)
    throw refused(`device '${name}' has no shared memory`);
  return own === undefined ? held : [own, ...held];
};
