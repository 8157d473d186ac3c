import type { Log } from '../../devices/core/device.js';
import { EventHub } from '../../server/events/hub.js';
import { limitsWith } from '../../server/limits.js';
import type { Limits } from '../../server/limits.js';
import { DescriptorBudget } from '../../server/machine/descriptor-budget.js';
import { Monitor } from '../../server/session/monitor.js';
import { FakeTarget } from './fake-target.js';
import { MemoryConnection } from './memory-connection.js';

const nothing = (): void => undefined;
export const silentLog: Log = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
};

export interface Wire {
  readonly target: FakeTarget;
  readonly events: EventHub;
  readonly monitor: Monitor;
  /** A client that has read its greeting. */
  readonly client: () => MemoryConnection;
  /** A client past negotiation. */
  readonly ready: (capabilities?: string) => MemoryConnection;
}

/** A monitor with a fake machine and clients in memory. */
export const wire = (
  options: { limits?: Partial<Limits>; pretty?: boolean; events?: EventHub } = {},
): Wire => {
  const target = new FakeTarget();
  const events = options.events ?? new EventHub();
  const limits = limitsWith(options.limits);
  const pretty = options.pretty ?? false;
  const descriptorBudget = new DescriptorBudget(limits.descriptors);
  const log = silentLog;
  const monitor = new Monitor({ target, events, log, limits, descriptorBudget, pretty });
  const connected = (): MemoryConnection => {
    const connection = new MemoryConnection();
    monitor.accept(connection);
    return connection;
  };
  const client = (): MemoryConnection => {
    const connection = connected();
    connection.take();
    return connection;
  };
  const ready = (capabilities = '[]'): MemoryConnection => {
    const connection = client();
    connection.feed(`{"execute":"qmp_capabilities","arguments":{"enable":${capabilities}}}`);
    connection.take();
    return connection;
  };
  return { target, events, monitor, client, ready };
};
