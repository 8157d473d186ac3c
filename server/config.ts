import type { CxlConfig } from '../devices/cxl/host.js';
import type { MemorySlotsConfig } from '../devices/platform/memory-slots.js';
import type { MachineKind } from '../devices/platform/platform.js';
import type { JsonObject } from '../schema/json.js';
import type { Limits } from './limits.js';
import type { LogLevel } from './log.js';
import type { NumaNodeSetting } from './options/numa.js';
import type { GlobalSetting, GuestPolicy } from './machine/machine.js';
import type { ClockDriver } from './machine/virtual-clock.js';

/** A TCP address as somebody wrote it; names are looked up when it is opened. */
export interface InetAddress {
  /** Empty: every address of the host. */
  readonly host: string;
  /** Decimal. */
  readonly port: string;
  /** Last port of the range to try when listening. Default: `port` only. */
  readonly to?: number | undefined;
  /** Which families may be used. Default: both. */
  readonly ipv4?: boolean | undefined;
  readonly ipv6?: boolean | undefined;
}

/** How one meets whoever is at the other end. */
export type SocketEndpoint =
  | { readonly kind: 'unix-listen'; readonly path: string; readonly wait: boolean }
  /** `reconnectMs`: pause before each new attempt; 0 or absent: one attempt only. */
  | { readonly kind: 'unix-connect'; readonly path: string; readonly reconnectMs?: number }
  | ({ readonly kind: 'tcp-listen'; readonly wait: boolean } & InetAddress)
  | ({ readonly kind: 'tcp-connect'; readonly reconnectMs?: number } & InetAddress)
  /** An inherited descriptor: of a listening socket, or of one that is connected. */
  | {
      readonly kind: 'unix-fd';
      readonly fd: number;
      readonly listening: boolean;
      readonly wait: boolean;
    };

/** Where a monitor meets its clients. */
export type MonitorEndpoint = SocketEndpoint | { readonly kind: 'stdio' };

/** The far side of a character device; `idle` has none, such as `null`; `pty` is a new terminal. */
export type CharEndpoint =
  MonitorEndpoint | { readonly kind: 'pty' } | { readonly kind: 'idle'; readonly backend: string };

/** A character device that is no monitor's. `origin` names it in errors. */
export interface ChardevConfig {
  readonly origin: string;
  readonly id: string;
  readonly endpoint: CharEndpoint;
}

/** The guest side by the qtest protocol. `origin` names its socket in errors. */
export interface QtestConfig {
  readonly origin: string;
  readonly endpoint: MonitorEndpoint;
  /** File for what is received and sent; undefined: none. */
  readonly log: { readonly origin: string; readonly path: string } | undefined;
}

/** A QMP socket. `origin` names it in errors. */
export interface MonitorConfig {
  readonly origin: string;
  /** Id of the character device; default `compat_monitorN`. */
  readonly label?: string;
  readonly endpoint: MonitorEndpoint;
  readonly pretty: boolean;
}

/** An object or a device as somebody wrote it: JSON, or key=value text. `origin` names it in errors. */
export type Written = { readonly origin: string } & (
  | { readonly form: 'json'; readonly values: JsonObject }
  | { readonly form: 'text'; readonly values: readonly (readonly [string, string])[] }
);

export interface MachineConfig {
  readonly name: string;
  /** Names the machine in errors of its board, where there is more than one machine. */
  readonly origin?: string;
  readonly guestName: string | undefined;
  readonly uuid: string | undefined;
  readonly kind: MachineKind;
  /** Bytes. */
  readonly ramSize: bigint;
  /** Room for memory devices; default none. */
  readonly memorySlots?: MemorySlotsConfig;
  /** `cxl=on`; undefined: no CXL. */
  readonly cxl?: CxlConfig | undefined;
  readonly ramBackend: string | undefined;
  /** NUMA nodes; default none. */
  readonly numa?: readonly NumaNodeSetting[];
  readonly defaults: boolean;
  readonly guestPolicy: GuestPolicy;
  /** `-S`: wait for `cont`. */
  readonly paused: boolean;
  /** `-incoming`: the machine comes from there, or, for `defer`, from where `migrate-incoming` says. */
  readonly incoming?: string | undefined;
  /** Wait for `x-exit-preconfig` before the board is built. Default false. */
  readonly preconfig?: boolean;
  readonly globals: readonly GlobalSetting[];
  readonly objects: readonly Written[];
  readonly devices: readonly Written[];
  readonly monitors: readonly MonitorConfig[];
  readonly qtest?: QtestConfig | undefined;
  /** Who moves the virtual clock. Default `host`. */
  readonly clock?: ClockDriver;
  /** Opened before the machine is built. Default none. */
  readonly chardevs?: readonly ChardevConfig[];
}

/** What errors call the settings of the process: an option as typed, or a place in a file. */
export interface ProcessOrigins {
  readonly listen: string;
  readonly tokenFile: string;
  readonly pidfile: string;
}

export interface DaemonConfig {
  readonly machines: readonly MachineConfig[];
  /** Opens the monitors only when every machine has been built. Default false. */
  readonly buildFirst?: boolean;
  /** HTTP and WebSocket; undefined: none. */
  readonly listen: { readonly host: string; readonly port: number } | undefined;
  /** Holds the secret that HTTP and WebSocket clients must show; undefined: none. */
  readonly tokenFile: string | undefined;
  readonly limits: Limits;
  readonly logLevel: LogLevel;
  readonly pidfile: string | undefined;
  readonly origins: ProcessOrigins;
}
