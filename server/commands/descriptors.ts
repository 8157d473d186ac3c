import { closeSync } from 'node:fs';
import type * as descriptors from '../../schema/descriptors.js';
import type { QmpError } from '../../schema/error.js';
import { refused } from '../../schema/error.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandClient } from '../session/target.js';
import type { CommandContext } from './context.js';
import { adoptClient } from './add-client.js';

const received = (client: Pick<CommandClient, 'takeDescriptor'>): number => {
  const fd = client.takeDescriptor();
  if (fd === undefined) throw refused('No file descriptor supplied via SCM_RIGHTS');
  return fd;
};

/** What `keep` answers; closes `fd` when it throws. */
const kept = <T>(fd: number, keep: () => T): T => {
  try {
    return keep();
  } catch (error) {
    closeSync(fd);
    throw error;
  }
};

/** Closes `fd` and refuses. */
const reject = (fd: number, desc: string): QmpError => {
  closeSync(fd);
  return refused(desc);
};

type Holder = Pick<CommandClient, 'descriptors' | 'takeDescriptor'>;

/** Names the descriptor that came with the request. @throws QmpError */
export const nameDescriptor = (client: Holder, fdname: string): void => {
  const fd = received(client);
  if (/^[0-9]/.test(fdname))
    throw reject(fd, `Parameter 'fdname' expects a name not starting with a digit`);
  kept(fd, () => client.descriptors.set(fdname, fd));
};
/** @throws QmpError when there is none of that name */
export const closeDescriptor = (client: Holder, fdname: string): void => {
  const fd = client.descriptors.take(fdname);
  if (fd === undefined) throw refused(`File descriptor named '${fdname}' not found`);
  closeSync(fd);
};

export const descriptorHandlers = {
  getfd: ({ fdname }, { client }) => nameDescriptor(client, fdname),
  closefd: ({ fdname }, { client }) => closeDescriptor(client, fdname),
  'add-fd': ({ 'fdset-id': set, opaque }, { client, machine }) => {
    const fd = received(client);
    if (set !== undefined && set < 0n)
      throw reject(fd, `Parameter 'fdset-id' expects a non-negative value`);
    const id = kept(fd, () => machine.descriptorSets.add(fd, set, opaque));
    return { 'fdset-id': id, fd: BigInt(fd) };
  },
  'remove-fd': ({ 'fdset-id': set, fd }, { machine }) => {
    if (machine.descriptorSets.remove(set, fd)) return;
    const member = fd === undefined ? '' : `, fd:${String(fd)}`;
    throw refused(`File descriptor named 'fdset-id:${String(set)}${member}' not found`);
  },
  'query-fdsets': (_, { machine }) =>
    machine.descriptorSets.list().map(({ id, members }) => ({
      'fdset-id': id,
      fds: members.map(({ fd, opaque }) => ({
        fd: BigInt(fd),
        ...(opaque === undefined ? {} : { opaque }),
      })),
    })),
  add_client: ({ protocol, fdname }, context) => adoptClient(protocol, fdname, context),
} satisfies Handlers<typeof descriptors, CommandContext>;
