import { command, int, object, opt, str } from './lang.js';

/**
 * Saved state of one device, in a file or inline.
 *
 * @see docs/device-state.md, Files
 */

export const SavedDevice = object('SavedDevice', {
  bytes: int('size', 'bytes of the saved state'),
  'config-size': int('size', 'bytes of the configuration in it'),
  'memory-size': int('size', 'bytes of the own memory of the device; zeros take no room'),
  data: opt(str('without `path`: the saved state, base64')),
});

export const deviceSave = command('device-save', {
  doc: 'Save configuration and own memory of a device, in any state of it. The device stands still meanwhile, and other clients are served.',
  spec: 'reference/vfio-device-state.md §8, §10',
  since: '0.1',
  features: ['qmemd'],
  args: {
    id: str('id or object path of the device'),
    path: opt(
      str(
        'file, which is there when all of it is; a regular file of that name is replaced. Default: the state comes with the reply',
      ),
    ),
  },
  returns: SavedDevice,
});

export const deviceLoad = command('device-load', {
  doc: 'Load what device-save has saved into a stopped device of the same type, options and memory. Everything is checked before anything changes.',
  spec: 'reference/vfio-device-state.md §8, §10',
  since: '0.1',
  features: ['qmemd'],
  args: {
    id: str('id or object path of the device'),
    path: opt(str('file; either this or `data`')),
    data: opt(str('the saved state, base64')),
  },
});
