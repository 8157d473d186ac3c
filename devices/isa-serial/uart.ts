import { refused } from '../../schema/error.js';
import type { DeviceState, StateValue } from '../core/device.js';

/** Registers by offset. PC16550D data sheet, table II. */
const REGISTER = {
  /** Received byte, byte to send; low half of the divisor while DLAB is set. */
  DATA: 0,
  /** Interrupt enable; high half of the divisor. */
  IER: 1,
  /** Interrupt identification when read, FIFO control when written. */
  IIR: 2,
  LCR: 3,
  MCR: 4,
  LSR: 5,
  MSR: 6,
  SCRATCH: 7,
} as const;

const IER = { RECEIVED: 1, EMPTY: 2, LINE: 4, MODEM: 8, ALL: 0xf } as const;
const IIR = { NONE: 1, MODEM: 0, EMPTY: 2, RECEIVED: 4, LINE: 6, FIFOS: 0xc0, WHY: 0xf } as const;
const FCR = { ENABLE: 1, CLEAR_RECEIVED: 2, CLEAR_SENT: 4, KEPT: 0xc9 } as const;
const LCR_DLAB = 0x80;
const MCR = { DTR: 1, RTS: 2, OUT1: 4, OUT2: 8, LOOP: 0x10, ALL: 0x1f } as const;
const LSR = { READY: 1, OVERRUN: 2, BREAK: 0x10, EMPTY: 0x20, IDLE: 0x40, ERRORS: 0x1e } as const;
const MSR = { CTS: 0x10, DSR: 0x20, RI: 0x40, DCD: 0x80, CHANGES: 0x0f, LINES: 0xf0 } as const;

const FIFO_BYTES = 16;
/** Bytes in the FIFO that make an interrupt, by the two upper bits of FCR. */
const TRIGGERS = [1, 4, 8, 14] as const;
const RESET_DIVISOR = 12;

export interface UartOptions {
  /** Sends one byte. */
  readonly send: (byte: number) => void;
  readonly setInterrupt: (level: boolean) => void;
  /** There is room for a further received byte. */
  readonly hasRoom: () => void;
}

/**
 * A 16550A: bytes leave at once, and those that come stay until software takes them. There is no
 * time on the line, so no character time-out: what is below the trigger counts as received.
 */
export class Uart {
  readonly #options: UartOptions;
  #ier = 0;
  #fcr = 0;
  #lcr = 0;
  #mcr: number = MCR.OUT2;
  #lsr: number = LSR.EMPTY | LSR.IDLE;
  #msr: number = MSR.DCD | MSR.DSR | MSR.CTS;
  #scratch = 0;
  #divisor = RESET_DIVISOR;
  #emptyPending = false;
  #received: number[] = [];
  /** What the receiver register holds while there are no FIFOs. */
  #last = 0;

  constructor(options: UartOptions) {
    this.#options = options;
  }

  reset(): void {
    this.#ier = 0;
    this.#fcr = 0;
    this.#lcr = 0;
    this.#mcr = MCR.OUT2;
    this.#lsr = LSR.EMPTY | LSR.IDLE;
    this.#msr = MSR.DCD | MSR.DSR | MSR.CTS;
    this.#scratch = 0;
    this.#divisor = RESET_DIVISOR;
    this.#emptyPending = false;
    this.#received = [];
    this.#last = 0;
    this.#update();
  }

  get #hasFifos(): boolean {
    return (this.#fcr & FCR.ENABLE) !== 0;
  }
  get #isLoop(): boolean {
    return (this.#mcr & MCR.LOOP) !== 0;
  }
  get #isDivisor(): boolean {
    return (this.#lcr & LCR_DLAB) !== 0;
  }

  /** Bytes that can be received now; none while the line is looped back. */
  get room(): number {
    return this.#isLoop ? 0 : (this.#hasFifos ? FIFO_BYTES : 1) - this.#received.length;
  }
  /** Takes a byte from the line; one that finds no room is lost, and the line status says so. */
  receive(byte: number): void {
    if (this.#received.length >= (this.#hasFifos ? FIFO_BYTES : 1)) {
      this.#lsr |= LSR.OVERRUN;
      // As the chip: without FIFOs the new byte takes the place of the old one.
      if (!this.#hasFifos) this.#received = [byte];
    } else this.#received.push(byte);
    this.#lsr |= LSR.READY;
    this.#update();
  }

  /** @param quiet the read takes nothing and changes nothing */
  read(offset: number, quiet: boolean): number {
    switch (offset) {
      case REGISTER.DATA:
        if (this.#isDivisor) return this.#divisor & 0xff;
        return quiet ? this.#first : this.#take();
      case REGISTER.IER:
        return this.#isDivisor ? this.#divisor >> 8 : this.#ier;
      case REGISTER.IIR:
        return this.#readIdentification(quiet);
      case REGISTER.LCR:
        return this.#lcr;
      case REGISTER.MCR:
        return this.#mcr;
      case REGISTER.LSR:
        return this.#readLineStatus(quiet);
      case REGISTER.MSR:
        return this.#readModemStatus(quiet);
      default:
        return this.#scratch;
    }
  }

  get #first(): number {
    return this.#received[0] ?? (this.#hasFifos ? 0 : this.#last);
  }
  #take(): number {
    const byte = this.#first;
    this.#received.shift();
    this.#last = byte;
    if (this.#received.length === 0) this.#lsr &= ~(LSR.READY | LSR.BREAK);
    this.#update();
    this.#options.hasRoom();
    return byte;
  }
  #readIdentification(quiet: boolean): number {
    const value = this.#identification;
    if (!quiet && (value & IIR.WHY) === IIR.EMPTY) {
      this.#emptyPending = false;
      this.#update();
    }
    return value;
  }
  #readLineStatus(quiet: boolean): number {
    const value = this.#lsr;
    if (!quiet) {
      this.#lsr &= ~(LSR.OVERRUN | LSR.BREAK);
      this.#update();
    }
    return value;
  }
  #readModemStatus(quiet: boolean): number {
    if (this.#isLoop) return looped(this.#mcr);
    const value = this.#msr;
    if (!quiet) {
      this.#msr &= ~MSR.CHANGES;
      this.#update();
    }
    return value;
  }

  write(offset: number, value: number): void {
    if (offset === REGISTER.DATA) this.#writeData(value);
    else if (offset === REGISTER.IER) this.#writeEnable(value);
    else if (offset === REGISTER.IIR) this.#writeFifoControl(value);
    else if (offset === REGISTER.LCR) this.#lcr = value;
    else if (offset === REGISTER.MCR) {
      this.#mcr = value & MCR.ALL;
      this.#options.hasRoom();
    } else if (offset === REGISTER.SCRATCH) this.#scratch = value;
  }

  #writeData(value: number): void {
    if (this.#isDivisor) {
      this.#divisor = (this.#divisor & 0xff00) | value;
      return;
    }
    if (this.#isLoop) this.receive(value);
    else this.#options.send(value);
    this.#emptyPending = true;
    this.#update();
  }
  #writeEnable(value: number): void {
    if (this.#isDivisor) {
      this.#divisor = (this.#divisor & 0xff) | (value << 8);
      return;
    }
    const before = this.#ier;
    this.#ier = value & IER.ALL;
    // Asking for it while the register is empty makes the interrupt at once.
    if ((this.#ier & ~before & IER.EMPTY) !== 0) this.#emptyPending = true;
    this.#update();
  }
  #writeFifoControl(value: number): void {
    const switched = ((value ^ this.#fcr) & FCR.ENABLE) !== 0;
    if (switched || (value & FCR.CLEAR_RECEIVED) !== 0) {
      this.#received = [];
      this.#lsr &= ~(LSR.READY | LSR.BREAK);
    }
    if (switched || (value & FCR.CLEAR_SENT) !== 0) this.#emptyPending = true;
    this.#fcr = (value & FCR.ENABLE) === 0 ? 0 : value & FCR.KEPT;
    this.#update();
    this.#options.hasRoom();
  }

  /** Highest first. */
  get #reason(): number {
    if ((this.#ier & IER.LINE) !== 0 && (this.#lsr & LSR.ERRORS) !== 0) return IIR.LINE;
    if ((this.#ier & IER.RECEIVED) !== 0 && (this.#lsr & LSR.READY) !== 0) return this.#dataReason;
    if ((this.#ier & IER.EMPTY) !== 0 && this.#emptyPending) return IIR.EMPTY;
    if ((this.#ier & IER.MODEM) !== 0 && (this.#msr & MSR.CHANGES) !== 0) return IIR.MODEM;
    return IIR.NONE;
  }
  /** Fewer bytes than the trigger are those of a character time-out. */
  get #dataReason(): number {
    const trigger = TRIGGERS[this.#fcr >> 6] ?? 1;
    const isEarly = this.#hasFifos && this.#received.length < trigger;
    return isEarly ? IIR.RECEIVED | 8 : IIR.RECEIVED;
  }
  get #identification(): number {
    return this.#reason | (this.#hasFifos ? IIR.FIFOS : 0);
  }
  #update(): void {
    this.#options.setInterrupt(this.#reason !== IIR.NONE);
  }

  save(): DeviceState {
    return {
      registers: [this.#ier, this.#fcr, this.#lcr, this.#mcr, this.#lsr, this.#msr, this.#scratch],
      divisor: this.#divisor,
      emptyPending: this.#emptyPending,
      received: Uint8Array.from(this.#received),
      last: this.#last,
    };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError */
  prepareLoad(state: StateValue | undefined): () => void {
    const { registers, divisor, emptyPending, received, last } = (state ??
      {}) as Partial<DeviceState>;
    const isByte = (value: unknown): value is number =>
      typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xff;
    if (
      !(Array.isArray(registers) && registers.length === 7 && registers.every(isByte)) ||
      !(typeof divisor === 'number' && Number.isInteger(divisor) && divisor >>> 16 === 0) ||
      typeof emptyPending !== 'boolean' ||
      !isByte(last) ||
      !(received instanceof Uint8Array && received.length <= FIFO_BYTES)
    )
      throw refused('saved registers do not fit device type isa-serial');
    return () => {
      const [ier = 0, fcr = 0, lcr = 0, mcr = 0, lsr = 0, msr = 0, scratch = 0] = registers;
      this.#ier = ier & IER.ALL;
      this.#fcr = fcr & FCR.KEPT;
      this.#lcr = lcr;
      this.#mcr = mcr & MCR.ALL;
      const ready = received.length > 0 ? LSR.READY : 0;
      this.#lsr = (lsr & ~LSR.READY) | ready | LSR.EMPTY | LSR.IDLE;
      this.#msr = msr;
      this.#scratch = scratch;
      this.#divisor = divisor;
      this.#emptyPending = emptyPending;
      this.#last = last;
      this.#received = [...received];
      this.#update();
    };
  }
}

/** Modem status in loopback: the outputs come back as inputs. */
const looped = (mcr: number): number =>
  ((mcr & MCR.DTR) !== 0 ? MSR.DSR : 0) |
  ((mcr & MCR.RTS) !== 0 ? MSR.CTS : 0) |
  ((mcr & MCR.OUT1) !== 0 ? MSR.RI : 0) |
  ((mcr & MCR.OUT2) !== 0 ? MSR.DCD : 0);
