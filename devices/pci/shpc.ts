import { refused } from '../../schema/error.js';
import type { StateValue } from '../core/device.js';
import type { AccessSize } from '../core/host-memory.js';
import { MemoryRegion } from '../core/memory-region.js';
import { bytes, fields, integer, list } from '../core/saved-state.js';
import type { HotplugController, PciBus } from './bus.js';
import type { PciFunction } from './function.js';

/** Capability of the standard hot-plug controller. SHPC 1.0 §4.1. */
const CAPABILITY_ID = 0x0c;
const CAPABILITY_SIZE = 8;
/** Offsets from the capability. SHPC 1.0 §4.1. */
const CAPABILITY = { SELECT: 2, DATA: 4 };

/** Working register set; offsets in bytes. SHPC 1.0 §4.2. */
const REGISTER = {
  /** Slots usable at 33 MHz conventional. §4.2.2 */
  AVAILABLE_1: 0x04,
  /** Slot count, first device number, physical number, features. §4.2.4 */
  CONFIGURATION: 0x0c,
  /** Programming interface in the top byte. §4.2.5 */
  BUS_MODE: 0x10,
  /** Code in the low byte, slot number from 1 in the next. §4.2.7 */
  COMMAND: 0x14,
  STATUS: 0x16,
  /** Masks of global interrupts. §4.2.11 */
  INTERRUPT_MASK: 0x20,
  /** First logical slot register, 4 bytes each. §4.2.12 */
  SLOTS: 0x24,
} as const;
const BAR_SIZE = 256;

/** Low half of a logical slot register. SHPC 1.0 §4.2.12. */
const SLOT = {
  STATE: 0x3,
  DISABLED: 0x3,
  ENABLED: 0x2,
  POWER_LED: 0xc,
  POWER_LED_ON: 0x4,
  POWER_LED_OFF: 0xc,
  LEDS: 0x3c,
  LATCH_OPEN: 0x100,
  EMPTY: 0xc00,
} as const;
/** Event latches, third byte. */
const EVENT = { PRESENCE: 0x1, BUTTON: 0x4, LATCH: 0x8, ALL: 0x1f } as const;
const MASKED = 0x7f;

const FIRST_DEVICE = 1;
const SLOTS = 31;
/** Sensor, attention button and 'numbers count up'. */
const FEATURES = 0xe000_0000;

/** Command code 0x00-0x3f: new state and indicators of one slot, zero fields stay. §4.2.7 */
const SLOT_OPERATION_END = 0x40;
const STATUS_INVALID_SLOT = 0x4;
const STATUS_INVALID_COMMAND = 0x2;

export interface ShpcOptions {
  readonly bridge: PciFunction;
  readonly bus: PciBus;
  /** Offset of the capability. */
  readonly at?: number;
  /** The guest let go of this function. */
  remove(fn: PciFunction): void;
}

/**
 * The standard hot-plug controller of conventional bridges: slots 1 to 31, each with state, power
 * indicator and attention button. Devices work whether their slot has power or not, as in QEMU.
 *
 * @see PCI Standard Hot-Plug Controller and Subsystem 1.0
 */
export class Shpc implements HotplugController {
  readonly kind = 'shpc';
  /** The working registers, for BAR 0. */
  readonly region: MemoryRegion;
  readonly #options: ShpcOptions;
  readonly #capability: number;
  readonly #bytes = new Uint8Array(REGISTER.SLOTS + 4 * SLOTS);
  /** Functions whose button was pressed by an unplug request. */
  #pending = new Set<PciFunction>();
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(options: ShpcOptions) {
    this.#options = options;
    const { bridge } = options;
    this.#capability = bridge.addCapability(CAPABILITY_ID, CAPABILITY_SIZE, options.at);
    bridge.config.setWritable(this.#capability + CAPABILITY.SELECT, 1, 0xff);
    bridge.config.setWritable(this.#capability + CAPABILITY.DATA, 4, 0xffff_ffff);
    bridge.onConfigWrite((offset, size) => this.#configWritten(offset, size));
    bridge.addPart('shpc', {
      save: () => ({
        registers: this.#bytes.slice(),
        pending: [...this.#pending].map(({ devfn }) => devfn),
      }),
      prepareLoad: (state) => this.#prepareLoad(state),
    });
    this.region = MemoryRegion.mmio(
      'shpc-mmio',
      BigInt(BAR_SIZE),
      {
        read: (offset, size) => this.#read(offset, size),
        write: (offset, size, value) => this.#write(offset, size, Number(value)),
      },
      { valid: { min: 1, max: 4 } },
    );
    this.reset();
  }

  /** Slots with a device start enabled, the others disabled. */
  reset(): void {
    this.#bytes.fill(0);
    this.#set32(REGISTER.AVAILABLE_1, SLOTS);
    this.#set32(
      REGISTER.CONFIGURATION,
      FEATURES + FIRST_DEVICE * 0x10000 + FIRST_DEVICE * 0x100 + SLOTS,
    );
    this.#set32(REGISTER.BUS_MODE, 0x0100_0000);
    this.#set32(REGISTER.INTERRUPT_MASK, 0xf);
    for (let slot = 0; slot < SLOTS; slot++) {
      this.#bytes[REGISTER.SLOTS + 4 * slot + 3] = MASKED;
      const populated = this.#functionsIn(slot).length > 0;
      this.#setSlot(slot, populated ? SLOT.ENABLED | SLOT.POWER_LED_ON : this.#emptyStatus);
    }
    this.#showSelected();
  }

  get #emptyStatus(): number {
    return SLOT.DISABLED | SLOT.POWER_LED_OFF | SLOT.LATCH_OPEN | SLOT.EMPTY;
  }

  prePlug(): void {
    // The address decides, and is not known yet: `checkAddress`.
  }

  /** Slot 0 belongs to nobody. */
  checkAddress(devfn: number): void {
    this.#slotOf(devfn);
  }

  plug(fn: PciFunction, hotplugged: boolean): void {
    const slot = this.#slotOf(fn.devfn);
    if (!hotplugged) {
      this.#setSlot(slot, SLOT.ENABLED | SLOT.POWER_LED_ON);
      return;
    }
    // As QEMU: adding to a slot that is on is announced by nothing but its presence.
    const status = this.#slot(slot) & ~(SLOT.LATCH_OPEN | SLOT.EMPTY);
    this.#setSlot(slot, status);
    if ((status & SLOT.STATE) === SLOT.DISABLED)
      this.#raise(slot, EVENT.PRESENCE | EVENT.BUTTON | EVENT.LATCH);
  }

  unplugRequest(fn: PciFunction): void {
    const slot = this.#slotOf(fn.devfn);
    if (this.#isOff(this.#slot(slot))) {
      this.#release(slot);
      return;
    }
    this.#pending.add(fn);
    this.#raise(slot, EVENT.BUTTON);
  }

  isPending(fn: PciFunction): boolean {
    return this.#pending.has(fn);
  }

  yanked(fn: PciFunction): void {
    this.#pending.delete(fn);
    const slot = this.#slotOf(fn.devfn);
    if (this.#functionsIn(slot).some((other) => other !== fn)) return;
    this.#setSlot(
      slot,
      (this.#slot(slot) & SLOT.LEDS) | SLOT.DISABLED | SLOT.LATCH_OPEN | SLOT.EMPTY,
    );
    this.#raise(slot, EVENT.PRESENCE | EVENT.LATCH);
  }

  /** As a guest's driver: enables the slot if it is off, then disables it, through the capability. */
  guestEject(fn: PciFunction): void {
    const slot = this.#slotOf(fn.devfn);
    if (this.#isOff(this.#slot(slot))) this.#guestCommand(slot, SLOT.ENABLED | SLOT.POWER_LED_ON);
    this.#guestCommand(slot, SLOT.DISABLED | SLOT.POWER_LED_OFF);
  }

  #guestCommand(slot: number, code: number): void {
    const { bridge } = this.#options;
    bridge.writeConfig(this.#capability + CAPABILITY.SELECT, 1, REGISTER.COMMAND / 4);
    bridge.writeConfig(this.#capability + CAPABILITY.DATA, 4, ((slot + 1) << 8) | code);
  }

  /** Index of the logical slot of a device. */
  #slotOf(devfn: number): number {
    const slot = (devfn >> 3) - FIRST_DEVICE;
    if (slot >= 0) return slot;
    throw refused(
      `Unsupported PCI slot ${String(devfn >> 3)} for standard hotplug controller. ` +
        `Valid slots are between ${String(FIRST_DEVICE)} and ${String(FIRST_DEVICE + SLOTS - 1)}.`,
    );
  }
  #functionsIn(slot: number): PciFunction[] {
    return this.#options.bus.functions.filter((fn) => fn.devfn >> 3 === slot + FIRST_DEVICE);
  }
  #isOff(status: number): boolean {
    return (
      (status & SLOT.STATE) === SLOT.DISABLED && (status & SLOT.POWER_LED) === SLOT.POWER_LED_OFF
    );
  }

  #command(): void {
    const code = this.#bytes[REGISTER.COMMAND] ?? 0;
    const slot = (this.#view.getUint16(REGISTER.COMMAND, true) >> 8) - 1;
    const invalid = this.#execute(code, slot);
    this.#view.setUint16(REGISTER.STATUS, invalid, true);
  }

  /** @returns the error bits of the status register */
  #execute(code: number, slot: number): number {
    if (code >= SLOT_OPERATION_END) return STATUS_INVALID_COMMAND;
    if (slot < 0 || slot >= SLOTS) return STATUS_INVALID_SLOT;
    const before = this.#slot(slot);
    let after = before;
    for (const field of [SLOT.STATE, SLOT.POWER_LED, SLOT.LEDS & ~SLOT.POWER_LED])
      if ((code & field) !== 0) after = (after & ~field) | (code & field);
    this.#setSlot(slot, after);
    if (this.#isOff(after) && !this.#isOff(before)) this.#release(slot);
    return 0;
  }

  /** All functions of a slot leave; what remains is an empty slot. */
  #release(slot: number): void {
    for (const fn of this.#functionsIn(slot)) {
      this.#pending.delete(fn);
      this.#options.remove(fn);
    }
    this.#setSlot(slot, this.#slot(slot) | SLOT.LATCH_OPEN | SLOT.EMPTY);
    this.#raise(slot, EVENT.PRESENCE | EVENT.LATCH);
  }

  #slot(slot: number): number {
    return this.#view.getUint16(REGISTER.SLOTS + 4 * slot, true);
  }
  #setSlot(slot: number, status: number): void {
    this.#view.setUint16(REGISTER.SLOTS + 4 * slot, status, true);
    this.#showSelected();
  }
  #raise(slot: number, events: number): void {
    const at = REGISTER.SLOTS + 4 * slot + 2;
    this.#bytes[at] = (this.#bytes[at] ?? 0) | events;
    this.#showSelected();
  }
  #set32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }

  #read(offset: number, size: AccessSize): bigint {
    let value = 0n;
    for (let i = size - 1; i >= 0; i--)
      value = (value << 8n) | BigInt(this.#bytes[offset + i] ?? 0);
    return value;
  }

  #write(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.#writeByte(offset + i, Math.floor(value / 2 ** (8 * i)));
    if (offset < REGISTER.STATUS && offset + size > REGISTER.COMMAND) this.#command();
    this.#showSelected();
  }

  #writeByte(at: number, byte: number): void {
    const value = byte & 0xff;
    if (at === REGISTER.COMMAND || at === REGISTER.COMMAND + 1) this.#bytes[at] = value;
    else if (at >= REGISTER.INTERRUPT_MASK && at < REGISTER.SLOTS) {
      if (at === REGISTER.INTERRUPT_MASK) this.#bytes[at] = value & 0xf;
    } else if (at >= REGISTER.SLOTS) {
      const part = (at - REGISTER.SLOTS) % 4;
      if (part === 2) this.#bytes[at] = (this.#bytes[at] ?? 0) & ~(value & EVENT.ALL);
      if (part === 3) this.#bytes[at] = value & MASKED;
    }
  }

  #configWritten(offset: number, size: number): void {
    const { config } = this.#options.bridge;
    const data = this.#capability + CAPABILITY.DATA;
    const start = Math.max(offset, data);
    const end = Math.min(offset + size, data + 4);
    const register = config.get(this.#capability + CAPABILITY.SELECT, 1) * 4;
    if (start < end && register < this.#bytes.length) {
      let value = 0;
      for (let at = end - 1; at >= start; at--) value = value * 0x100 + config.get(at, 1);
      this.#write(register + start - data, end - start, value);
    }
    this.#showSelected();
  }

  /** The data register of the capability shows the register that is selected. */
  #showSelected(): void {
    const { config } = this.#options.bridge;
    const at = config.get(this.#capability + CAPABILITY.SELECT, 1) * 4;
    const shown = at + 4 <= this.#bytes.length ? this.#view.getUint32(at, true) : 0;
    config.set(this.#capability + CAPABILITY.DATA, 4, shown);
  }

  #prepareLoad(state: StateValue | undefined): () => void {
    const place = 'saved hot-plug controller';
    const { registers, pending } = fields({
      registers: bytes(this.#bytes.length),
      pending: list(integer(0xff), 0x100),
    })(state, place);
    const functions = pending.map((devfn) => this.#options.bus.function(devfn));
    if (functions.includes(undefined)) throw refused(`${place}.pending has an empty slot`);
    return () => {
      this.#pending = new Set(functions.filter((fn) => fn !== undefined));
      this.#bytes.set(registers);
      this.#showSelected();
    };
  }
}
