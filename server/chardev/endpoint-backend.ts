import type { MonitorEndpoint } from '../config.js';
import type { QomProperty } from '../machine/qom.js';
import type { OpenEndpoint } from '../transport/endpoint.js';
import type { CharBackend } from './backend.js';

/** A backend whose far side is a socket or standard input and output. */
export const endpointBackend = ({ kind }: MonitorEndpoint, opened: OpenEndpoint): CharBackend => {
  const properties: Record<string, QomProperty> = {};
  if (kind !== 'stdio') {
    properties['connected'] = { type: 'bool', get: () => opened.connected };
    properties['addr'] = { type: 'SocketAddress', get: () => opened.address ?? null };
  }
  return {
    typeName: kind === 'stdio' ? 'chardev-stdio' : 'chardev-socket',
    get filename() {
      return opened.filename;
    },
    properties,
    ...(opened.adopt && { adopt: (fd: number) => opened.adopt?.(fd) }),
    ...(opened.cut && { cut: () => opened.cut?.() }),
    close: () => opened.close(),
  };
};
