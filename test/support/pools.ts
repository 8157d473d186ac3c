import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Cleanup } from './daemon.js';

/** Where shared objects lie. */
export const SHARED_OBJECTS = '/dev/shm';

let serial = 0;

/** A name for the state of a pool that nobody else has; what is left of it goes with the test. */
export const poolName = (t: Cleanup): string => {
  const name = `qmemd-test-${String(process.pid)}-${String(serial++)}`;
  t.teardown(() => {
    for (const file of [name, `${name}.tags`])
      rmSync(join(SHARED_OBJECTS, file), { recursive: true, force: true });
  });
  return name;
};

/** A machine with two ports for heads, rp0 and rp1. */
export const CXL_PORTS: readonly string[] = [
  ...['-M', 'q35,cxl=on', '-nodefaults', '-S', '-device', 'pxb-cxl,id=cxl.0,bus=pcie.0,bus_nr=52'],
  ...['-device', 'cxl-rp,id=rp0,bus=cxl.0,chassis=0,port=0,slot=0'],
  ...['-device', 'cxl-rp,id=rp1,bus=cxl.0,chassis=0,port=1,slot=1'],
];

/** Bytes of the state object in front of the owner masks. reference/cxl.md §9.2 */
export const OWNERS_AT = 24;

/** Owner masks of blocks of a pool, as its object has them. */
export const ownerMasks = (name: string, first: number, count: number): Buffer =>
  readFileSync(join(SHARED_OBJECTS, name)).subarray(OWNERS_AT + first, OWNERS_AT + first + count);
