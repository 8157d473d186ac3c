import type { Device } from './device.js';

/** A device that maps memory of the host by itself, besides the backends that it holds. */
export interface FlushableDevice extends Device {
  /** Writes that memory back to its file; see HostMapping.flush. @throws HostError */
  flush(): Promise<void>;
}

export const asFlushableDevice = (device: Device): FlushableDevice | undefined =>
  'flush' in device ? (device as FlushableDevice) : undefined;
