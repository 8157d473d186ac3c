import { refused } from '../../schema/error.js';
import type * as files from '../../schema/device-state-files.js';
import type { Handlers, Infer } from '../../schema/lang.js';
import type { SavedState, StateRequest } from '../state-files/state-files.js';
import { decodeBase64 } from './base64.js';
import type { CommandContext } from './context.js';

const request = (id: string, { machine, client }: CommandContext): StateRequest => ({
  entry: machine.devices.find(id),
  name: id,
  gone: client.gone,
});

const shown = ({ bytes, configSize, memorySize }: SavedState): Infer<typeof files.SavedDevice> => ({
  bytes: BigInt(bytes),
  'config-size': BigInt(configSize),
  'memory-size': memorySize,
});

export const deviceStateFileHandlers = {
  'device-save': async ({ id, path }, context) => {
    const { stateFiles } = context.machine;
    const what = request(id, context);
    if (path !== undefined) return shown(await stateFiles.saveFile(what, path));
    const { data, ...saved } = await stateFiles.saveInline(what);
    return { ...shown(saved), data };
  },
  'device-load': async ({ id, path, data }, context) => {
    const { stateFiles } = context.machine;
    const what = request(id, context);
    if ((path === undefined) === (data === undefined))
      throw refused(`device-load takes either 'path' or 'data'`);
    if (path !== undefined) await stateFiles.loadFile(what, path);
    else await stateFiles.loadInline(what, decodeBase64('data', data ?? ''));
  },
} satisfies Handlers<typeof files, CommandContext>;
