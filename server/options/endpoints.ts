import type { CharEndpoint, MachineConfig } from '../config.js';
import { CommandLineError } from './keyval.js';

/** The far sides of all character devices together: what each takes must be left to it. */

/** One of them; `origin` names it in errors. */
export interface NamedEndpoint {
  readonly origin: string;
  readonly endpoint: CharEndpoint;
}

/** Character devices, monitors and guest side of each machine. */
export const endpointsOf = (machines: readonly MachineConfig[]): NamedEndpoint[] =>
  machines.flatMap(({ chardevs, monitors, qtest }) => [
    ...(chardevs ?? []),
    ...monitors,
    ...(qtest === undefined ? [] : [qtest]),
  ]);

/** @throws CommandLineError naming the second one that wants standard input and output */
export const checkStdio = (machines: readonly MachineConfig[]): void => {
  const [, second] = endpointsOf(machines).filter(({ endpoint }) => endpoint.kind === 'stdio');
  if (second !== undefined)
    throw new CommandLineError(second.origin, 'cannot use stdio by multiple character devices');
};
