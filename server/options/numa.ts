import { CommandLineError, Parameters, parseOpts } from './keyval.js';

/** `-numa`. */

/** A node of memory, as somebody wrote it; `origin` names it in errors. */
export interface NumaNodeSetting {
  readonly origin: string;
  /** Default: the first number that is free. */
  readonly nodeid: number | undefined;
  /** Id of the memory backend. */
  readonly memdev: string | undefined;
}

const KINDS = ['node', 'dist', 'cpu', 'hmat-lb', 'hmat-cache'];

/**
 * Reads one `-numa`. Nodes are what is used; distances, CPUs and memory attributes describe a guest
 * that does not run.
 *
 * @returns undefined for what is not used
 * @throws CommandLineError with the words of QEMU
 */
export const readNuma = (origin: string, text: string): NumaNodeSetting | undefined => {
  const pairs = parseOpts(text, 'type');
  const given = new Parameters(origin, pairs);
  const kind = given.take('type') ?? '';
  if (!KINDS.includes(kind))
    throw new CommandLineError(origin, `Parameter 'type' does not accept value '${kind}'`);
  if (kind !== 'node') return undefined;
  const id = given.take('nodeid');
  if (id !== undefined && !/^[0-9]{1,5}$/.test(id))
    throw new CommandLineError(origin, "Parameter 'nodeid' expects a uint64 value");
  const memdev = given.take('memdev');
  if (given.take('mem') !== undefined)
    throw new CommandLineError(
      origin,
      'Parameter -numa node,mem is not supported by this machine type, use -numa node,memdev instead',
    );
  given.ignore(['cpus', 'initiator']);
  given.end();
  return { origin, nodeid: id === undefined ? undefined : Number(id), memdev };
};
