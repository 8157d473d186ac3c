import type { DaemonConfig, CharEndpoint } from './config.js';
import type { RootLog } from './log.js';
import type { CommandTable } from './dispatch/dispatcher.js';
import { MachineHost, type NativeReport } from './machine-host.js';
import { InheritedDescriptors } from './os/inherited-descriptors.js';
import { NativeLoader } from './os/native.js';
import type { HostServices } from './os/services.js';
import { PidFile } from './os/pid-file.js';
import type { HttpAddress, HttpServer } from './http/server.js';
import type { MetricsPage } from './metrics/page.js';
import { CommandRecorder } from './metrics/recorder.js';
import { VERSION } from './version.js';

export interface DaemonOptions {
  readonly config: DaemonConfig;
  readonly log: RootLog;
  /** Descriptors that a migration may use by their number. Default: none. */
  readonly inherited?: InheritedDescriptors;
  /** Behave as if the native package were not installed. */
  readonly nativeDisabled?: boolean;
  /** A character device with `wait` holds the start until its first client comes. */
  readonly onWaiting?: (endpoint: CharEndpoint) => void;
  /** Called for each character device of the command line that is a pseudo terminal. */
  readonly onTerminal?: (id: string, path: string) => void;
  /** Called once when the last machine has gone. */
  readonly onEmpty: () => void;
}

/** What the native layer adds (design §8). */
const NATIVE_FEATURES = ['descriptors', 'mappings', 'eventfd', 'locks'] as const;

const DAY_MS = 86_400_000;
/** From the start until the daemon has time for what nobody has asked for yet. */
const QUIET_MS = 1000;

/** Every part of the daemon, built and wired; started in order, stopped in reverse. */
export class Daemon {
  readonly #config: DaemonConfig;
  readonly #log: RootLog;
  readonly #onEmpty: () => void;
  readonly #native: NativeLoader;
  readonly #machines = new Map<string, MachineHost>();
  readonly #recorder: CommandRecorder | undefined;
  #http: HttpServer | undefined;
  #httpAddress: HttpAddress | undefined;
  #metrics: Promise<MetricsPage> | undefined;
  #commands: Promise<CommandTable> | undefined;
  #services: Promise<HostServices> | undefined;
  #stopping: Promise<void> | undefined;
  #stoppingBySignal: Promise<void> | undefined;
  #pidfile: PidFile | undefined;
  /** Machines live on when nobody is connected to them: nothing else might keep the process. */
  #alive: NodeJS.Timeout | undefined;
  #loadingAhead: NodeJS.Timeout | undefined;

  constructor(options: DaemonOptions) {
    this.#config = options.config;
    this.#log = options.log;
    this.#onEmpty = options.onEmpty;
    this.#native = new NativeLoader({ disabled: options.nativeDisabled === true });
    if (options.config.listen !== undefined) this.#recorder = new CommandRecorder();
    for (const config of options.config.machines)
      this.#machines.set(
        config.name,
        new MachineHost({
          config,
          limits: options.config.limits,
          log: options.log.child({ machine: config.name }),
          loadNative: this.#native.load,
          services: () => (this.#services ??= this.#loadServices()),
          inherited: options.inherited ?? InheritedDescriptors.none(),
          commands: () => (this.#commands ??= this.#loadCommands()),
          onWaiting: options.onWaiting ?? (() => undefined),
          onTerminal: options.onTerminal ?? (() => undefined),
          recorder: this.#recorder,
          onQuit: () => void this.#remove(config.name),
        }),
      );
  }

  /** Address of the HTTP server, once it listens. */
  get httpAddress(): HttpAddress | undefined {
    return this.#httpAddress;
  }
  nativeReport(): NativeReport {
    const status = this.#native.status();
    return { ...status, features: status.native === 'full' ? NATIVE_FEATURES : [] };
  }

  /** @throws Error with one line that names the option or endpoint; nothing is left behind */
  async start(): Promise<void> {
    this.#alive = setInterval(() => undefined, DAY_MS);
    try {
      // First: of two daemons, the second touches nothing of the first.
      this.#claimPidfile();
      // Of many machines all must be good before a socket is there; a single one greets at once.
      const steps = [
        (machine: MachineHost) => machine.open(),
        (machine: MachineHost) => machine.build(),
      ];
      if (this.#config.buildFirst === true) steps.reverse();
      for (const step of steps) for (const machine of this.#machines.values()) await step(machine);
      if (this.#config.listen !== undefined) await this.#listen(this.#config.listen);
      this.#loadingAhead = setTimeout(() => void this.#loadAhead(), QUIET_MS).unref();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }
  /** Never rejects. */
  async #loadAhead(): Promise<void> {
    try {
      const { loadAhead } = await import('./load-ahead.js');
      await loadAhead(this.#log);
      this.#log.debug({}, 'code loaded ahead');
    } catch (error) {
      this.#log.warn({ err: error }, 'code could not be loaded ahead');
    }
  }
  /** A signal: every machine says SHUTDOWN, then all ends. Further signals change nothing. */
  stopBySignal(): Promise<void> {
    this.#stoppingBySignal ??= this.#stopBySignal();
    return this.#stoppingBySignal;
  }
  async #stopBySignal(): Promise<void> {
    await Promise.all([...this.#machines.values()].map((machine) => machine.announceShutdown()));
    await this.stop();
  }
  /** Safe to call twice. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    clearInterval(this.#alive);
    clearTimeout(this.#loadingAhead);
    await this.#http?.stop();
    for (const machine of [...this.#machines.values()].reverse()) await machine.stop();
    this.#machines.clear();
    this.#pidfile?.release();
  }
  async #remove(name: string): Promise<void> {
    const machine = this.#machines.get(name);
    this.#machines.delete(name);
    try {
      await machine?.stop();
    } catch (error) {
      this.#log.error({ err: error, machine: name }, 'machine did not stop cleanly');
    }
    if (this.#machines.size === 0) this.#onEmpty();
  }
  async #listen(listen: { host: string; port: number }): Promise<void> {
    const { HttpServer } = await import('./http/server.js');
    const http = new HttpServer({
      ...listen,
      origin: this.#config.origins.listen,
      token: await this.#token(),
      limits: this.#config.limits,
      lookup: (name) => {
        const machine = this.#lookup(name);
        return machine && ((connection) => machine.webSocketMonitor.accept(connection));
      },
      feeds: (name) => {
        const machine = this.#lookup(name);
        return machine && ((connection, request) => machine.feed.accept(connection, request));
      },
      pages: {
        machines: () =>
          [...this.#machines.values()].map((machine) => ({
            name: machine.name,
            report: machine.report(),
          })),
        metrics: () => (this.#metrics ??= this.#loadMetrics()),
      },
      health: () => ({
        status: 'ok',
        version: VERSION,
        native: this.nativeReport().native,
        machines: [...this.#machines.keys()],
      }),
    });
    this.#http = http;
    this.#httpAddress = await http.start();
  }
  /** @throws Error when the file cannot be used */
  async #token(): Promise<string | undefined> {
    const { tokenFile, origins } = this.#config;
    if (tokenFile === undefined) return undefined;
    const { readTokenFile } = await import('./http/access.js');
    return readTokenFile(tokenFile, origins.tokenFile);
  }
  async #loadServices(): Promise<HostServices> {
    const { hostServices } = await import('./os/services.js');
    return hostServices(this.#native);
  }
  async #loadCommands(): Promise<CommandTable> {
    const { commandTable } = await import('./commands/table.js');
    return commandTable(() => {
      const { features, ...rest } = this.nativeReport();
      return { ...rest, features: [...features] };
    });
  }
  async #loadMetrics(): Promise<MetricsPage> {
    const { createMetricsPage } = await import('./metrics/page.js');
    return createMetricsPage({
      version: VERSION,
      commands: this.#recorder ?? new CommandRecorder(),
      machines: () => [...this.#machines.values()].flatMap((machine) => machine.report() ?? []),
    });
  }
  #lookup(name: string | undefined): MachineHost | undefined {
    return name === undefined && this.#machines.size === 1
      ? [...this.#machines.values()][0]
      : this.#machines.get(name ?? '');
  }
  /** @throws Error that names the place in the configuration file; of an option in QEMU's words */
  #claimPidfile(): void {
    const { pidfile, origins } = this.#config;
    if (pidfile === undefined) return;
    try {
      this.#pidfile = PidFile.claim(pidfile, this.#native.load);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      const place = origins.pidfile.startsWith('-') ? '' : `${origins.pidfile}: `;
      throw new Error(`${place}${reason}`, { cause: error });
    }
  }
}
