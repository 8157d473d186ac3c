import { asIvshmemPeer } from '../../devices/ivshmem/server-view.js';
import type * as ivshmem from '../../schema/ivshmem.js';
import type { Handlers } from '../../schema/lang.js';
import type { CommandContext } from './context.js';

export const ivshmemHandlers = {
  'query-ivshmem': (_args, { machine }) =>
    [...machine.devices.entries].flatMap(({ id, device, object }) => {
      const view = asIvshmemPeer(device)?.serverView();
      if (view === undefined) return [];
      const named = id === undefined ? {} : { device: id };
      return [{ ...named, path: object.path, ...view, peers: [...view.peers] }];
    }),
} satisfies Handlers<typeof ivshmem, CommandContext>;
