import type * as PromClient from 'prom-client';
import type { Registry } from 'prom-client';
import type { MachineReport } from '../machine-report.js';
import { LATENCY_BUCKETS, type CommandRecorder } from './recorder.js';

export interface MetricsSource {
  readonly version: string;
  readonly commands: CommandRecorder;
  readonly machines: () => readonly MachineReport[];
}

export interface MetricsPage {
  readonly contentType: string;
  text(): Promise<string>;
}

type Prom = (typeof PromClient)['default'];

/** Loads prom-client and describes all metrics in a registry of their own. */
export const createMetricsPage = async (source: MetricsSource): Promise<MetricsPage> => {
  const { default: prom } = await import('prom-client');
  const registry = new prom.Registry();
  addProcess(prom, registry, source);
  addCommands(prom, registry, source.commands);
  addMachines(prom, registry, source);
  return { contentType: registry.contentType, text: () => registry.metrics() };
};

const addProcess = (prom: Prom, registry: Registry, { version }: MetricsSource): void => {
  const registers = [registry];
  new prom.Gauge({
    name: 'qmemd_info',
    help: 'Always 1; the label tells the version.',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1);
  new prom.Gauge({
    name: 'process_resident_memory_bytes',
    help: 'Resident memory size in bytes.',
    registers,
    collect() {
      this.set(process.memoryUsage.rss());
    },
  });
  new prom.Gauge({
    name: 'process_start_time_seconds',
    help: 'Start time of the process since unix epoch in seconds.',
    registers,
  }).set(performance.timeOrigin / 1000);
};

const addCommands = (prom: Prom, registry: Registry, commands: CommandRecorder): void => {
  const registers = [registry];
  new prom.Counter({
    name: 'qmemd_commands_total',
    help: 'Commands that have been answered, by name and by result (ok or the class of the error).',
    labelNames: ['command', 'result'],
    registers,
    collect() {
      this.reset();
      for (const [command, { results }] of commands.tallies)
        for (const [result, count] of results) this.inc({ command, result }, count);
    },
  });
  const name = 'qmemd_command_duration_seconds';
  const shape = new prom.Histogram<'command' | 'le'>({
    name,
    help: 'Time from a command to its answer, waiting for its turn included.',
    labelNames: ['command'],
    registers: [],
  });
  type Shown = Awaited<ReturnType<typeof shape.get>>;
  /** A histogram to those who read it; the buckets come from the recorder, which fills them faster. */
  class Durations extends prom.Gauge<'command' | 'le'> {
    override async get(): Promise<Shown> {
      const values: Shown['values'] = [];
      for (const [command, tally] of commands.tallies) {
        let below = 0;
        for (const [at, le] of [...LATENCY_BUCKETS, '+Inf'].entries()) {
          below += tally.buckets[at] ?? 0;
          values.push({ metricName: `${name}_bucket`, labels: { le, command }, value: below });
        }
        const labels = { command };
        values.push({ metricName: `${name}_sum`, labels, value: tally.sum });
        values.push({ metricName: `${name}_count`, labels, value: tally.count });
      }
      return { ...(await shape.get()), values };
    }
  }
  new Durations({ name, help: name, labelNames: ['command'], registers });
};

type Reading = readonly [labels: Readonly<Record<string, string>>, value: number];

const addMachines = (prom: Prom, registry: Registry, source: MetricsSource): void => {
  const { machines } = source;
  /** One value or more for each machine. */
  const perMachine = (
    kind: 'Gauge' | 'Counter',
    [name, help, more]: readonly [string, string, (readonly string[])?],
    read: (report: MachineReport) => readonly Reading[],
  ): void => {
    const readings = (): Reading[] =>
      machines().flatMap((report) =>
        read(report).map(
          ([labels, value]) => [{ machine: report.name, ...labels }, value] as const,
        ),
      );
    const shape = { name, help, labelNames: ['machine', ...(more ?? [])], registers: [registry] };
    if (kind === 'Gauge')
      new prom.Gauge({
        ...shape,
        collect() {
          this.reset();
          for (const [labels, value] of readings()) this.set({ ...labels }, value);
        },
      });
    else
      new prom.Counter({
        ...shape,
        collect() {
          this.reset();
          for (const [labels, value] of readings()) this.inc({ ...labels }, value);
        },
      });
  };
  new prom.Gauge({
    name: 'qmemd_machines',
    help: 'Machines that this daemon hosts.',
    registers: [registry],
    collect() {
      this.set(machines().length);
    },
  });
  perMachine('Gauge', ['qmemd_machine_running', '1 while the machine runs.'], ({ running }) => [
    [{}, running ? 1 : 0],
  ]);
  perMachine(
    'Gauge',
    ['qmemd_clients', 'Clients that are connected, by endpoint.', ['endpoint']],
    ({ clients }) => [
      [{ endpoint: 'qmp' }, clients.qmp],
      [{ endpoint: 'events' }, clients.events],
    ],
  );
  perMachine(
    'Counter',
    ['qmemd_events_total', 'Events that the machine has published.'],
    ({ events }) => [[{}, events.sequence]],
  );
  perMachine(
    'Counter',
    ['qmemd_events_sent_total', 'Events sent, once for each client.'],
    ({ events }) => [[{}, events.sent]],
  );
  perMachine(
    'Counter',
    ['qmemd_events_lost_total', 'Events that slow or late subscribers did not get.'],
    ({ events }) => [[{}, events.lost]],
  );
  perMachine('Gauge', ['qmemd_devices', 'Devices by type.', ['type']], ({ devices }) =>
    countBy(devices.map(({ type }) => type)).map(([type, count]) => [{ type }, count]),
  );
  perMachine('Gauge', ['qmemd_backends', 'Memory backends.'], ({ backends }) => [
    [{}, backends.length],
  ]);
  perMachine('Gauge', ['qmemd_backend_bytes', 'Size of all memory backends.'], ({ backends }) => [
    [{}, Number(backends.reduce((sum, { size }) => sum + size, 0n))],
  ]);
};

const countBy = (names: readonly string[]): [string, number][] => {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts];
};
