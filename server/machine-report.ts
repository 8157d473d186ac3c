import type { Infer } from '../schema/lang.js';
import type { Memdev } from '../schema/memory.js';

/** What the HTTP pages tell of a device that somebody asked for. */
export interface DeviceReport {
  /** Absent for devices without an id. */
  readonly id?: string | undefined;
  readonly type: string;
  readonly path: string;
  readonly bus?: string | undefined;
  readonly hotplugged: boolean;
}

/** What the HTTP pages tell of a machine; only looks, never touches. */
export interface MachineReport {
  readonly name: string;
  readonly uuid: string;
  /** Canonical name of the machine type. */
  readonly type: string;
  readonly status: string;
  readonly running: boolean;
  readonly 'guest-policy': string;
  /** Bytes of guest memory. */
  readonly memory: bigint;
  readonly clients: { readonly qmp: number; readonly events: number };
  readonly events: {
    readonly stream: string;
    /** Number of the latest event. */
    readonly sequence: number;
    readonly sent: number;
    readonly lost: number;
  };
  readonly devices: readonly DeviceReport[];
  readonly backends: readonly Infer<typeof Memdev>[];
}
