import { EFFECT, type CciCommand } from '../cci.js';
import type { AlertThresholds } from '../alert-thresholds.js';

/** Get and Set Alert Configuration. CXL 3.1 §8.2.9.9.3.2 */
export const alertCommands = (alerts: AlertThresholds): CciCommand[] => [
  { opcode: 0x4201, inputLength: 0, effects: 0, run: () => alerts.bytes },
  {
    opcode: 0x4202,
    inputLength: 12,
    effects: EFFECT.POLICY_CHANGE,
    run: (input) => alerts.set(input),
  },
];
