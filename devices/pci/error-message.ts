import { AER, EXPRESS } from './capabilities.js';
import type { PciFunction } from './function.js';
import { Offer } from './offers.js';
import {
  BRIDGE,
  CAPABILITY,
  COMMAND,
  CONFIG,
  EXTENDED_CAPABILITY,
  PORT_TYPE,
} from './registers.js';

/** What a root port does when an error message is to interrupt. */
export interface ErrorReceiver {
  interrupt(): void;
}
export const ERROR_RECEIVER = new Offer<ErrorReceiver>('receiver of error messages');

/** An error of a function: one bit of its uncorrectable or correctable status. */
export interface ReportedError {
  readonly kind: 'correctable' | 'uncorrectable';
  readonly bit: number;
}

/** Bits of device control and status, and of root command. PCIe 5.0 §7.5.3.4, §7.8.4.9. */
const SEVERITY = { CORRECTABLE: 0x1, NON_FATAL: 0x2, FATAL: 0x4 } as const;
/** Root error status. PCIe 5.0 §7.8.4.10. */
const ROOT = {
  CORRECTABLE: 0x1,
  SEVERAL_CORRECTABLE: 0x2,
  UNCORRECTABLE: 0x4,
  SEVERAL_UNCORRECTABLE: 0x8,
  FIRST_FATAL: 0x10,
  NON_FATAL: 0x20,
  FATAL: 0x40,
} as const;
/** System error: signalled in the status, received in the secondary status. */
const SYSTEM_ERROR = 0x4000;
const FORWARDS_ERRORS = 0x2;
const FIRST_ERROR = 0x1f;

interface Message {
  readonly severity: number;
  /** Bus, device and function of the sender. */
  readonly source: number;
}

/**
 * Records an error in the advanced error reporting of a function and, where software enabled it,
 * sends the message to the root port above.
 *
 * @see PCI Express Base 5.0 §6.2 Error Signaling and Logging
 */
export const reportError = (fn: PciFunction, error: ReportedError): void => {
  const { config } = fn;
  const aer = config.findExtendedCapability(EXTENDED_CAPABILITY.AER);
  const express = config.findCapability(CAPABILITY.EXPRESS);
  if (aer === undefined || express === undefined) return;
  const severity = severityOf(fn, aer, error);
  raise(fn, express + EXPRESS.DEVICE_STATUS, 2, severity);
  if (!record(fn, aer, error)) return;
  const { bus } = fn;
  if (bus === undefined) return;
  send(fn, { severity, source: (bus.number << 8) | fn.devfn });
};

const raise = (fn: PciFunction, at: number, size: 2 | 4, bits: number): void =>
  fn.config.set(at, size, fn.config.get(at, size) | bits);

const severityOf = ({ config }: PciFunction, aer: number, { kind, bit }: ReportedError): number => {
  if (kind === 'correctable') return SEVERITY.CORRECTABLE;
  const fatal = (config.get(aer + AER.UNCORRECTABLE_SEVERITY, 4) & (1 << bit)) !== 0;
  return fatal ? SEVERITY.FATAL : SEVERITY.NON_FATAL;
};

/** Sets the status bit. @returns false when it is masked */
const record = (fn: PciFunction, aer: number, { kind, bit }: ReportedError): boolean => {
  const { config } = fn;
  const correctable = kind === 'correctable';
  const status = aer + (correctable ? AER.CORRECTABLE_STATUS : AER.UNCORRECTABLE_STATUS);
  const mask = aer + (correctable ? AER.CORRECTABLE_MASK : AER.UNCORRECTABLE_MASK);
  const masked = (config.get(mask, 4) & (1 << bit)) !== 0;
  if (!correctable && !masked && config.get(status, 4) === 0) {
    const control = config.get(aer + AER.CONTROL, 4) & ~FIRST_ERROR;
    config.set(aer + AER.CONTROL, 4, control | bit);
  }
  raise(fn, status, 4, 1 << bit);
  return !masked;
};

/**
 * Passes a message upwards, as far as every function on the way lets it; at one that is stopped it
 * waits.
 */
const send = (sender: PciFunction, message: Message): void => {
  for (let fn: PciFunction | undefined = sender; fn !== undefined; fn = fn.bus?.bridge) {
    const here = fn;
    if (fn.activity.stopped) {
      fn.activity.latch.add(() => send(here, message));
      return;
    }
    const express = fn.config.findCapability(CAPABILITY.EXPRESS);
    if (express === undefined || (fn.isBridge && !passesOn(fn, message))) return;
    if (!isEnabled(fn, express, message)) return;
    if (fn.portType !== PORT_TYPE.ROOT_PORT) continue;
    arrive(fn, message);
    return;
  }
};

const isUncorrectable = ({ severity }: Message): boolean => severity !== SEVERITY.CORRECTABLE;

/** A bridge notes what comes from below, and passes it on if it was told to. */
const passesOn = (fn: PciFunction, message: Message): boolean => {
  if (isUncorrectable(message)) raise(fn, BRIDGE.SECONDARY_STATUS, 2, SYSTEM_ERROR);
  return (fn.config.get(BRIDGE.CONTROL, 2) & FORWARDS_ERRORS) !== 0;
};

const isEnabled = (fn: PciFunction, express: number, message: Message): boolean => {
  const { config } = fn;
  const system = isUncorrectable(message) && (config.get(CONFIG.COMMAND, 2) & COMMAND.SERR) !== 0;
  const enabled = (config.get(express + EXPRESS.DEVICE_CONTROL, 2) & message.severity) !== 0;
  if (system) raise(fn, CONFIG.STATUS, 2, SYSTEM_ERROR);
  return system || enabled;
};

/** The root port notes the first sender of each kind, and interrupts for what it was not told of. */
const arrive = (fn: PciFunction, { severity, source }: Message): void => {
  const { config } = fn;
  const aer = config.findExtendedCapability(EXTENDED_CAPABILITY.AER);
  if (aer === undefined) return;
  const before = config.get(aer + AER.ROOT_STATUS, 4);
  const correctable = severity === SEVERITY.CORRECTABLE;
  const seen = correctable ? ROOT.CORRECTABLE : ROOT.UNCORRECTABLE;
  const first = (before & seen) === 0;
  if (first) config.set(aer + AER.SOURCE_ID + (correctable ? 0 : 2), 2, source);
  raise(fn, aer + AER.ROOT_STATUS, 4, seen | rootBits(severity, first));
  const enabled = config.get(aer + AER.ROOT_COMMAND, 2);
  if ((enabled & severity) !== 0 && (enabled & toldOf(before)) === 0)
    fn.offers.get(ERROR_RECEIVER)?.interrupt();
};

const rootBits = (severity: number, first: boolean): number => {
  if (severity === SEVERITY.CORRECTABLE) return first ? 0 : ROOT.SEVERAL_CORRECTABLE;
  const fatal = severity === SEVERITY.FATAL;
  const order = first ? (fatal ? ROOT.FIRST_FATAL : 0) : ROOT.SEVERAL_UNCORRECTABLE;
  return order | (fatal ? ROOT.FATAL : ROOT.NON_FATAL);
};

/** The enable bits of root command whose errors the status shows already. */
const toldOf = (status: number): number =>
  ((status & ROOT.CORRECTABLE) !== 0 ? SEVERITY.CORRECTABLE : 0) |
  ((status & ROOT.NON_FATAL) !== 0 ? SEVERITY.NON_FATAL : 0) |
  ((status & ROOT.FATAL) !== 0 ? SEVERITY.FATAL : 0);
