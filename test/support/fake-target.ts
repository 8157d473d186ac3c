import type { CommandCall, Outcome, QmpTarget } from '../../server/session/target.js';

const ok = (value: unknown = {}): Outcome => ({ ok: true, value });
const no = (
  desc: string,
  errorClass: 'GenericError' | 'CommandNotFound' | 'DeviceNotFound' = 'GenericError',
): Outcome => ({
  ok: false,
  class: errorClass,
  desc,
});

const OOB: readonly string[] = ['query-yank', 'migrate-pause'];

/** A machine that knows enough commands for the wire to be tested, and nothing else. */
export class FakeTarget implements QmpTarget {
  readonly greeting = {
    QMP: {
      version: { qemu: { micro: 0, minor: 2, major: 10 }, package: 'fake' },
      capabilities: ['oob'],
    },
  };
  /** Names of the commands that were run, in order. */
  readonly ran: string[] = [];
  /** Calls of `wait` that were not released yet. */
  readonly waiting: ((outcome: Outcome) => void)[] = [];
  /** Runs whatever else a test needs. */
  extra: ((call: CommandCall) => Outcome | Promise<Outcome> | undefined) | undefined;

  run(call: CommandCall): Outcome | Promise<Outcome> {
    const extra = this.extra?.(call);
    if (extra !== undefined) return extra;
    const known = ['query-name', 'device_del', 'wait', 'quit', ...OOB];
    if (!known.includes(call.command))
      return no(`The command ${call.command} has not been found`, 'CommandNotFound');
    if (call.oob && !OOB.includes(call.command))
      return no(`The command ${call.command} does not support OOB`);
    const problem = argumentProblem(call);
    if (problem !== undefined) return no(problem);
    this.ran.push(call.command);
    return this.#handle(call);
  }

  #handle(call: CommandCall): Outcome | Promise<Outcome> {
    switch (call.command) {
      case 'query-name':
        return ok({ name: 'vm0' });
      case 'device_del':
        return no(`Device '${String(call.arguments?.['id'])}' not found`, 'DeviceNotFound');
      case 'query-yank':
        return ok([{ type: 'chardev', id: 'compat_monitor0' }]);
      case 'migrate-pause':
        return no('migrate-pause is not possible now');
      case 'quit':
        call.client.closeAfterReply();
        return ok();
      default:
        return new Promise((resolve) => this.waiting.push(resolve));
    }
  }

  /** Lets the oldest `wait` return. */
  release(): void {
    this.waiting.shift()?.(ok());
  }
}

const argumentProblem = ({ command, arguments: args = {} }: CommandCall): string | undefined => {
  const { id, ...rest } = args;
  if (command === 'device_del') {
    if (id === undefined) return "Parameter 'id' is missing";
    if (typeof id !== 'string') return "Invalid parameter type for 'id', expected: string";
  }
  const [unexpected] = Object.keys(command === 'device_del' ? rest : args);
  return unexpected === undefined ? undefined : `Parameter '${unexpected}' is unexpected`;
};
