import * as control from './control.js';
import * as events from './events.js';
import * as guest from './guest.js';
import * as memory from './memory.js';
import * as pci from './pci.js';
import * as qdev from './qdev.js';
import * as qom from './qom.js';
import type { SchemaModule } from './introspect.js';
import type { Subject } from './reference.js';

/** Every QMP module, in the order of `query-qmp-schema` and of the printed reference. */
export const subjects: readonly Subject[] = [
  { title: 'Session and machine', module: control },
  { title: 'Subscriptions', module: events },
  { title: 'Objects', module: qom },
  { title: 'Devices', module: qdev },
  { title: 'PCI', module: pci },
  { title: 'Memory', module: memory },
  { title: 'Guest side', module: guest },
];

export const modules: readonly SchemaModule[] = subjects.map(({ module }) => module);
