import { arr, bool, command, object, str } from './lang.js';

/**
 * Character devices, which carry monitors.
 *
 * @see reference/qmp-protocol.md §8.2
 */

export const ChardevInfo = object('ChardevInfo', {
  label: str('id of the character device'),
  filename: str('what it is connected to'),
  'frontend-open': bool('whether something in the machine uses it'),
});
export const queryChardev = command('query-chardev', {
  doc: 'List the character devices that carry monitors.',
  since: '0.1',
  allowPreconfig: true,
  returns: arr(ChardevInfo, 'the character devices'),
});
