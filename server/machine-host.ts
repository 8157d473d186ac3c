import { openChardev, openMonitorChardev, type Opened } from './chardev/open.js';
import { CharTable } from './chardev/table.js';
import type { CharEndpoint, ChardevConfig, MachineConfig, QtestConfig } from './config.js';
import { Dispatcher, type CommandTable, type Loaded } from './dispatch/dispatcher.js';
import { EventHub } from './events/hub.js';
import type { Limits } from './limits.js';
import type { MachineReport } from './machine-report.js';
import type { RootLog } from './log.js';
import type { Machine } from './machine/machine.js';
import { describeMachine } from './machine/report.js';
import { DescriptorBudget } from './machine/descriptor-budget.js';
import { Turn } from './machine/turn.js';
import { YankInstances } from './machine/yank-instances.js';
import type { InheritedDescriptors } from './os/inherited-descriptors.js';
import type { LoadNative } from './os/native.js';
import type { HostServices } from './os/services.js';
import { Monitor } from './session/monitor.js';
import type { QtestServer } from './qtest/server.js';
import type { CommandRecorder } from './metrics/recorder.js';
import { EventFeed } from './session/feed.js';
import type { QmpTarget } from './session/target.js';
import type { Connection } from './transport/connection.js';
import { GREETING } from './version.js';

/** What `query-native` and `/healthz` report. */
export interface NativeReport {
  readonly native: 'full' | 'none';
  readonly reason?: string;
  readonly features: readonly string[];
}

export interface MachineHostOptions {
  readonly config: MachineConfig;
  readonly limits: Limits;
  readonly log: RootLog;
  readonly loadNative: LoadNative;
  /** Loaded with the first machine that is built. */
  readonly services: () => Promise<HostServices>;
  readonly inherited: InheritedDescriptors;
  /** The commands of all machines; loaded when the first one is built. */
  readonly commands: () => Promise<CommandTable>;
  /** A character device waits for its first client before the machine is built. */
  readonly onWaiting: (endpoint: CharEndpoint) => void;
  /** A character device of the command line is a pseudo terminal, with this path. */
  readonly onTerminal: (id: string, path: string) => void;
  /** Counts commands for the metrics page. Default: nobody asks. */
  readonly recorder?: CommandRecorder | undefined;
  /** Called once when the machine asks to end. */
  readonly onQuit: () => void;
}

/** What `open` throws is told with the origin. */
const named = async <T>(origin: string, open: () => Promise<T>): Promise<T> => {
  try {
    return await open();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${origin}: ${reason}`, { cause: error });
  }
};

const ignore = (): void => undefined;

/**
 * One machine with its monitors. Monitors greet their clients while the machine is still being
 * built; commands wait for it.
 */
export class MachineHost {
  readonly name: string;
  readonly #options: MachineHostOptions;
  readonly #events: EventHub;
  readonly #target: QmpTarget;
  readonly #feed: EventFeed;
  readonly #chardevs: CharTable;
  readonly #monitors: Monitor[] = [];
  #webSocketMonitor: Monitor | undefined;
  #built!: (loaded: Loaded) => void;
  #failed!: (error: unknown) => void;
  /** What the answer to a client's first command waits for. */
  #awaited: Promise<void> | undefined;
  #machine: Machine | undefined;
  #building: Promise<void> | undefined;
  #qtest: QtestServer | undefined;
  readonly #turn = new Turn();
  readonly #yanks = new YankInstances();
  readonly #descriptorBudget: DescriptorBudget;

  constructor(options: MachineHostOptions) {
    this.#options = options;
    this.name = options.config.name;
    const { loadNative: native, limits, log } = options;
    this.#descriptorBudget = new DescriptorBudget(limits.descriptors);
    this.#chardevs = new CharTable({ native, limits, log, yanks: this.#yanks });
    this.#events = new EventHub({ ringSize: options.limits['event-ring'] });
    this.#feed = new EventFeed(this.#events, options.limits['event-bytes']);
    const loading = new Promise<Loaded>((resolve, reject) => {
      this.#built = resolve;
      this.#failed = reject;
    });
    const dispatcher = new Dispatcher({
      greeting: GREETING,
      turn: this.#turn,
      log: options.log,
      initialized: () => this.#machine?.ready ?? true,
      loading,
    });
    const { incoming } = options.config;
    if (incoming !== undefined && incoming !== 'defer')
      this.#awaited = loading.then(ignore, ignore);
    this.#target = options.recorder?.watch(dispatcher) ?? dispatcher;
  }

  /** Opens monitors and guest side. @throws Error naming the origin and the reason */
  async open(): Promise<void> {
    const { monitors, qtest } = this.#options.config;
    let unnamed = 0;
    for (const { origin, label, endpoint, pretty } of monitors) {
      const monitor = this.#newMonitor(pretty);
      const id = label ?? `compat_monitor${String(unnamed++)}`;
      const accept = (connection: Connection): void => monitor.accept(connection);
      await this.#openServed({ origin, id, endpoint }, accept);
    }
    if (qtest !== undefined) await this.#openQtest(qtest);
  }
  /** Builds the machine and lets it run. @throws Error naming the option that failed */
  build(): Promise<void> {
    this.#building = this.#build();
    return this.#building;
  }
  async #build(): Promise<void> {
    try {
      await this.#openChardevs();
      const { buildMachine } = await import('./machine/build.js');
      const commands = await this.#options.commands();
      const services = await this.#options.services();
      const { config, log, limits, loadNative, inherited, onQuit } = this.#options;
      const machine = await buildMachine(config, {
        log,
        limits,
        loadNative,
        ...services,
        chardevs: this.#chardevs,
        yanks: this.#yanks,
        descriptorBudget: this.#descriptorBudget,
        inherited,
        turn: this.#turn,
        emit: (event, data) => this.#events.emit(event, data),
        onQuit,
      });
      this.#machine = machine;
      this.#qtest?.attach(machine);
      this.#built({ machine, commands });
    } catch (error) {
      this.#failed(error);
      throw error;
    }
  }
  /** The monitor of WebSocket clients, made on first use. */
  get webSocketMonitor(): Monitor {
    this.#webSocketMonitor ??= this.#newMonitor(false);
    return this.#webSocketMonitor;
  }
  /** The events endpoint of WebSocket clients. */
  get feed(): EventFeed {
    return this.#feed;
  }
  get clients(): number {
    return this.#monitors.reduce((sum, { clients }) => sum + clients, 0);
  }
  /** Undefined as long as the machine is being built. */
  report(): MachineReport | undefined {
    const { sequence, stream, tally } = this.#events;
    if (this.#machine === undefined) return undefined;
    const { devices, backends, ...rest } = describeMachine(this.#machine);
    return {
      name: this.name,
      ...rest,
      clients: { qmp: this.clients, events: this.#feed.clients },
      events: { stream, sequence, ...tally },
      devices,
      backends,
    };
  }
  /** A signal ends the machine: SHUTDOWN now, or as soon as it has been built. */
  async announceShutdown(): Promise<void> {
    // A failure to build is reported by whoever asked for it.
    await this.#building?.catch(() => undefined);
    this.#machine?.runState.shutdown('host-signal');
  }
  /** Ends all clients, gives everything back. Safe to call twice. */
  async stop(): Promise<void> {
    await this.#chardevs.close();
    this.#feed.close();
    this.#qtest?.close();
    await Promise.all(this.#monitors.splice(0).map((monitor) => monitor.close()));
    await this.#machine?.close();
    this.#events.close();
  }

  async #openQtest(config: QtestConfig): Promise<void> {
    const { QtestServer } = await import('./qtest/server.js');
    const { limits, log } = this.#options;
    const server = new QtestServer({ config, limits, log });
    this.#qtest = server;
    // Of machines that were built first.
    if (this.#machine !== undefined) server.attach(this.#machine);
    // No descriptors come here, and the host's own sockets answer single requests sooner.
    const services = { ...this.#chardevs.services, native: () => undefined };
    const accept = (connection: Connection): void => server.accept(connection);
    await this.#openServed({ ...config, id: 'qtest' }, accept, services);
  }
  /** Opens a character device whose clients, any number of them, we serve. */
  async #openServed(
    chardev: ChardevConfig,
    accept: (connection: Connection) => void,
    services = this.#chardevs.services,
  ): Promise<void> {
    const opened = await named(chardev.origin, () =>
      openMonitorChardev(this.#chardevs, chardev, accept, services),
    );
    await this.#first(chardev.endpoint, opened);
  }
  async #openChardevs(): Promise<void> {
    for (const chardev of this.#options.config.chardevs ?? []) {
      const opened = await named(chardev.origin, () => openChardev(this.#chardevs, chardev));
      if (opened.terminal !== undefined) this.#options.onTerminal(chardev.id, opened.terminal);
      await this.#first(chardev.endpoint, opened);
    }
  }
  /** As QEMU: `wait` is on unless switched off, and the machine is not built before a client came. */
  async #first(endpoint: CharEndpoint, { firstClient }: Opened): Promise<void> {
    if (firstClient === undefined) return;
    this.#options.onWaiting(endpoint);
    await firstClient;
  }
  #newMonitor(pretty: boolean): Monitor {
    const { log, limits } = this.#options;
    const monitor = new Monitor({
      target: this.#target,
      events: this.#events,
      log,
      limits,
      descriptorBudget: this.#descriptorBudget,
      awaited: this.#awaited,
      pretty,
    });
    this.#monitors.push(monitor);
    return monitor;
  }
}
