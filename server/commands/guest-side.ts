import type { CommandContext } from './context.js';

type Run<A> = (args: A, context: CommandContext) => unknown;

/** What the guest side does to a machine by commands, and what puts a device into another state. */
const CHANGES: ReadonlySet<string> = new Set([
  ...['mem-attach', 'mem-detach', 'guest-eject', 'guest-enumerate', 'guest-memory-resize'],
  ...['guest-config-write', 'guest-mmio-write'],
  ...['guest-cxl-mailbox', 'guest-cxl-respond', 'guest-cxl-release'],
  ...['device-load', 'device-state-set', 'device-state-rehearse', 'vfio-state-write'],
]);
/** What must not come between the pieces of a machine that is being sent, but may come later. */
const WAITS: ReadonlySet<string> = new Set([
  ...['query-mem-attachments', 'guest-config-read', 'guest-mmio-read', 'vfio-state-read'],
]);

/**
 * A command that changes or touches the state of devices waits for the outcome of a migration in its last phase, without the
 * turn of the machine; changes are refused when the machine has gone.
 */
export const admitted = <A>(name: string, run: Run<A>): Run<A> => {
  const isChange = CHANGES.has(name);
  if (!isChange && !WAITS.has(name)) return run;
  return (args, context) => {
    const { gate } = context.machine.migration;
    const waits = gate.isHeld || (isChange && gate.refusal !== undefined);
    if (!waits) return run(args, context);
    return runAfter(isChange ? gate.pass() : gate.settled(), run, args, context);
  };
};

const runAfter = async <A>(
  outcome: Promise<void>,
  run: Run<A>,
  args: A,
  context: CommandContext,
): Promise<unknown> => {
  await context.machine.turn.outside(outcome);
  return run(args, context);
};
