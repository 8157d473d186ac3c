import { refused } from '../../schema/error.js';
import type { Clock } from '../core/clock.js';
import type { StateValue } from '../core/device.js';
import type { HotplugController, PciBus } from './bus.js';
import { EXPRESS } from './capabilities.js';
import type { PciFunction } from './function.js';
import {
  expired,
  loadPending,
  savePending,
  type HotplugPort,
  type PendingUnplug,
} from './hotplug.js';
import { CAPABILITY } from './registers.js';

const { LINK_CAPABILITIES, LINK_STATUS, SLOT_CONTROL, SLOT_STATUS } = EXPRESS;

/** Link status: data link layer active, speed and width. PCIe 5.0 §7.5.3.8. */
const DLL_ACTIVE = 0x2000;
const SPEED = 0xf;
const WIDTH = 0x3f0;

/** Slot control. PCIe 5.0 §7.5.3.10. */
const CONTROL = {
  HOTPLUG_INTERRUPT: 0x20,
  ATTENTION_OFF: 0xc0,
  POWER_INDICATOR: 0x300,
  POWER_INDICATOR_BLINK: 0x200,
  POWER_INDICATOR_OFF: 0x300,
  /** 1 switches the slot off. */
  POWER_CONTROLLER: 0x400,
  INTERLOCK: 0x800,
  WRITABLE: 0x07f9,
} as const;

/** Slot status. PCIe 5.0 §7.5.3.11. */
const STATUS = {
  ATTENTION_BUTTON: 0x1,
  PRESENCE_CHANGED: 0x8,
  COMMAND_COMPLETED: 0x10,
  PRESENCE: 0x40,
  INTERLOCK: 0x80,
  EVENTS: 0x19,
} as const;

/** A guest that does not answer for so long may be asked again; virtual time. */
const UNPLUG_EXPIRY_MS = 5000n;

export interface PcieSlotOptions {
  readonly port: PciFunction;
  /** Offset of the port's PCI Express capability. */
  readonly capability: number;
  readonly bus: PciBus;
  /** The port's id, for error texts. */
  readonly id: string;
  readonly clock: Clock;
  readonly hotplug: boolean;
  readonly powerController: boolean;
  /** The guest let go of this function. */
  remove(fn: PciFunction): void;
  /** The slot's interrupt condition became true or false. */
  interrupt(level: boolean): void;
}

/**
 * The slot behind a port, with PCI Express native hotplug: presence, power, attention button.
 *
 * @see PCI Express Base 5.0 §6.7 PCI Express Hot-Plug Support
 */
export class PcieSlot implements HotplugController, HotplugPort {
  readonly kind = 'native';
  readonly controller = this;
  readonly #options: PcieSlotOptions;
  #pending = new Map<PciFunction, PendingUnplug>();
  /** What the registers held before the write that a hook is told about. */
  #control = 0;
  #status = 0;
  #notified = false;

  constructor(options: PcieSlotOptions) {
    this.#options = options;
    const { port, capability } = options;
    // Writable as a whole: which event bits a write clears depends on all of them (`#wrote`).
    port.config.setWritable(capability + SLOT_STATUS, 2, STATUS.EVENTS);
    port.config.setClearable(capability + SLOT_STATUS, 2, 0);
    const power = options.powerController ? 0 : CONTROL.POWER_CONTROLLER;
    port.config.setWritable(
      capability + SLOT_CONTROL,
      2,
      (CONTROL.WRITABLE & ~power) | CONTROL.INTERLOCK,
    );
    port.onConfigWrite((offset, size) => this.#wrote(offset, size));
    port.addPart('slot', {
      save: () => savePending(this.#pending, options.clock),
      prepareLoad: (state) => this.#prepareLoad(state),
    });
    port.onLoad(() => this.#reload());
    this.reset();
  }

  get hotplug(): boolean {
    return this.#options.hotplug;
  }
  get #powered(): boolean {
    return (this.#control & CONTROL.POWER_CONTROLLER) === 0;
  }
  get #indicator(): number {
    return this.#control & CONTROL.POWER_INDICATOR;
  }

  /** As QEMU: an empty slot starts without power, a populated one with it; presence stays. */
  reset(): void {
    const populated = this.#options.bus.functions.length > 0;
    const off = populated ? 0 : CONTROL.POWER_CONTROLLER;
    const power = this.#options.powerController ? CONTROL.POWER_INDICATOR_OFF | off : 0;
    this.#setControl(CONTROL.ATTENTION_OFF | power);
    this.#setStatus(this.#status & STATUS.PRESENCE);
    this.#supply();
    this.#train();
    this.#notify();
  }

  #prepareLoad(state: StateValue | undefined): () => void {
    const { bus, clock } = this.#options;
    const pending = loadPending(state, { bus, clock, place: 'saved slot' });
    return () => {
      this.#pending = pending;
    };
  }
  /** Reads the registers again after saved state was loaded. */
  #reload(): void {
    const { port, capability } = this.#options;
    this.#control = port.config.get(capability + SLOT_CONTROL, 2);
    this.#status = port.config.get(capability + SLOT_STATUS, 2);
    this.#notified = this.#wantsInterrupt;
    this.#supply();
  }

  /** Somebody else (ACPI) serves the slot and added a device. */
  powerOn(): void {
    this.#setControl(this.#control & ~CONTROL.POWER_CONTROLLER);
    this.#supply();
    this.#train();
  }

  prePlug(): void {
    if (!this.#options.hotplug)
      throw refused(`Hot-plug failed: unsupported by the port device '${this.#options.id}'`);
  }

  plug(fn: PciFunction, hotplugged: boolean): void {
    fn.setPowered(this.#powered);
    if (!hotplugged) {
      this.#present(true);
      return;
    }
    if (this.#options.bus.function(0) === undefined) return;
    this.#present(true);
    this.#raise(STATUS.PRESENCE_CHANGED | STATUS.ATTENTION_BUTTON);
  }

  unplugRequest(fn: PciFunction, name: string): void {
    const { bus, clock, hotplug, id } = this.#options;
    if (!hotplug) throw refused(`Hot-unplug failed: unsupported by the port device '${id}'`);
    if (this.#isBusy(fn)) throw refused(`Device ${name} is already in the process of unplug`);
    if (fn.devfn !== 0 && bus.function(0) === undefined) {
      this.#removeAll();
      return;
    }
    if (this.#indicator === CONTROL.POWER_INDICATOR_BLINK)
      throw refused('Hot-unplug failed: guest is busy (power indicator blinking)');
    this.#pending.set(fn, { expiresMs: clock.now() / 1_000_000n + UNPLUG_EXPIRY_MS });
    if (!this.#powered && this.#indicator === CONTROL.POWER_INDICATOR_OFF) this.#unplugNow();
    else this.#raise(STATUS.ATTENTION_BUTTON);
  }

  isPending(fn: PciFunction): boolean {
    return this.#pending.has(fn);
  }

  /** The device was pulled out: presence and link are gone, which is announced. */
  yanked(fn: PciFunction): void {
    this.#pending.delete(fn);
    if (this.#options.bus.functions.some((other) => other !== fn)) return;
    this.#present(false);
    this.#raise(STATUS.PRESENCE_CHANGED);
  }

  /** As a guest's driver: power and indicator off, by configuration accesses. */
  guestEject(): void {
    const { port, capability, id, powerController } = this.#options;
    if (!powerController)
      throw refused(`The slot of port '${id}' has no power controller to switch off`);
    const at = capability + SLOT_CONTROL;
    const off = CONTROL.POWER_CONTROLLER | CONTROL.POWER_INDICATOR_OFF;
    const control = port.readConfig(at, 2);
    // Letting go is the step from on to off; a slot that is off already is switched on first.
    if ((control & off) === off)
      port.writeConfig(at, 2, control & ~CONTROL.POWER_CONTROLLER & ~CONTROL.POWER_INDICATOR);
    port.writeConfig(at, 2, control | off);
  }

  #isBusy(fn: PciFunction): boolean {
    const pending = this.#pending.get(fn);
    return pending !== undefined && !expired(pending, this.#options.clock);
  }

  #wrote(offset: number, size: number): void {
    const { port, capability } = this.#options;
    const touches = (register: number): boolean =>
      offset < capability + register + 2 && offset + size > capability + register;
    if (touches(SLOT_STATUS)) {
      const written = port.config.get(capability + SLOT_STATUS, 2) & STATUS.EVENTS;
      // A 1 for an event that is not there clears nothing at all, as QEMU.
      const cleared = (written & ~this.#status) === 0 ? written : 0;
      this.#setStatus(this.#status & ~cleared);
    }
    if (touches(SLOT_CONTROL)) this.#wroteControl();
    this.#notify();
  }

  #wroteControl(): void {
    const { port, capability } = this.#options;
    const before = this.#control;
    const written = port.config.get(capability + SLOT_CONTROL, 2);
    this.#setControl(written & ~CONTROL.INTERLOCK);
    if ((written & CONTROL.INTERLOCK) !== 0) this.#setStatus(this.#status ^ STATUS.INTERLOCK);
    this.#raise(STATUS.COMMAND_COMPLETED);
    const off = CONTROL.POWER_CONTROLLER | CONTROL.POWER_INDICATOR_OFF;
    const letGo = (written & off) === off && (before & off) !== off;
    if (letGo && (this.#status & STATUS.PRESENCE) !== 0) {
      this.#removeAll();
      this.#present(false);
      this.#raise(STATUS.PRESENCE_CHANGED);
    }
    this.#supply();
  }

  #unplugNow(): void {
    this.#removeAll();
    this.#present(false);
    this.#setStatus(this.#status & ~STATUS.ATTENTION_BUTTON);
    this.#raise(STATUS.PRESENCE_CHANGED);
  }

  #removeAll(): void {
    this.#pending.clear();
    for (const fn of [...this.#options.bus.functions]) this.#options.remove(fn);
  }

  #present(present: boolean): void {
    const { port, capability } = this.#options;
    const status = this.#status & ~STATUS.PRESENCE;
    this.#setStatus(status | (present ? STATUS.PRESENCE : 0));
    const link = port.config.get(capability + LINK_STATUS, 2) & ~DLL_ACTIVE;
    port.config.set(capability + LINK_STATUS, 2, link | (present ? DLL_ACTIVE : 0));
    this.#train();
  }

  /** Speed and width of the link: the lesser of both ends, the port's own without an express device. */
  #train(): void {
    const { port, capability, bus } = this.#options;
    const own = port.config.get(capability + LINK_CAPABILITIES, 2);
    const device = bus.function(0);
    const express = device?.config.findCapability(CAPABILITY.EXPRESS);
    const other =
      device === undefined || express === undefined
        ? own
        : device.config.get(express + LINK_STATUS, 2);
    const link = Math.min(own & SPEED, other & SPEED) | Math.min(own & WIDTH, other & WIDTH);
    const status = port.config.get(capability + LINK_STATUS, 2) & ~(SPEED | WIDTH);
    port.config.set(capability + LINK_STATUS, 2, status | link);
  }

  #raise(events: number): void {
    this.#setStatus(this.#status | events);
    this.#notify();
  }

  get #wantsInterrupt(): boolean {
    const enabled = (this.#control & CONTROL.HOTPLUG_INTERRUPT) !== 0;
    return enabled && (this.#control & this.#status & STATUS.EVENTS) !== 0;
  }
  #notify(): void {
    const level = this.#wantsInterrupt;
    if (level === this.#notified) return;
    this.#notified = level;
    this.#options.interrupt(level);
  }

  #supply(): void {
    for (const fn of this.#options.bus.functions) fn.setPowered(this.#powered);
  }
  #setControl(value: number): void {
    this.#control = value;
    const { port, capability } = this.#options;
    port.config.set(capability + SLOT_CONTROL, 2, value);
  }
  #setStatus(value: number): void {
    this.#status = value;
    const { port, capability } = this.#options;
    port.config.set(capability + SLOT_STATUS, 2, value);
  }
}
