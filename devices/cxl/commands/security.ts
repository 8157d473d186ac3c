import type { CciCommand } from '../cci.js';

/** Get Security State: nothing is locked, and nothing can be. CXL 3.1 §8.2.9.9.6.1 */
export const securityCommands = (): CciCommand[] => [
  { opcode: 0x4500, inputLength: 0, effects: 0, run: () => new Uint8Array(4) },
];
