import { enumeration } from './lang.js';

/** Type of the machine's property `guest-policy`. */
export const GuestPolicy = enumeration(
  'GuestPolicy',
  ['manual', 'accept', 'reject'],
  'How the guest side answers by itself.',
);
