import * as absent from './absent.js';
import * as block from './block.js';
import * as board from './board.js';
import * as chardev from './chardev.js';
import * as control from './control.js';
import * as cxl from './cxl.js';
import * as cxlPools from './cxl-pools.js';
import * as descriptors from './descriptors.js';
import * as deviceState from './device-state.js';
import * as deviceStateFiles from './device-state-files.js';
import * as events from './events.js';
import * as guest from './guest.js';
import * as humanMonitor from './human-monitor.js';
import * as ivshmem from './ivshmem.js';
import * as memory from './memory.js';
import * as migration from './migration.js';
import * as migrationParameters from './migration-parameters.js';
import * as pci from './pci.js';
import * as preconfig from './preconfig.js';
import * as qdev from './qdev.js';
import * as qom from './qom.js';
import type { SchemaModule } from './introspect.js';
import type { Subject } from './reference.js';

/** Every QMP module, in the order of `query-qmp-schema` and of the printed reference. */
export const subjects: readonly Subject[] = [
  { title: 'Session and machine', module: control },
  { title: 'Before the machine is created', module: preconfig },
  { title: 'Subscriptions', module: events },
  { title: 'Descriptors', module: descriptors },
  { title: 'Objects', module: qom },
  { title: 'Devices', module: qdev },
  { title: 'PCI', module: pci },
  { title: 'Memory', module: memory },
  { title: 'Device state', module: deviceState },
  { title: 'CXL', module: cxl },
  { title: 'CXL pools', module: cxlPools },
  { title: 'Character devices', module: chardev },
  { title: 'Shared memory between machines', module: ivshmem },
  { title: 'Guest side', module: guest },
  { title: 'Board', module: board },
  { title: 'Saved devices', module: deviceStateFiles },
  { title: 'Migration', module: migration },
  { title: 'Parameters of migration', module: migrationParameters },
  { title: 'What is not there', module: absent },
  { title: 'Block devices', module: block },
  { title: 'Human monitor', module: humanMonitor },
];

export const modules: readonly SchemaModule[] = subjects.map(({ module }) => module);
