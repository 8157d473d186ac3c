import { refused } from '../../schema/error.js';
import type { StateValue } from '../core/device.js';
import { fields, flag, integer, list } from '../core/saved-state.js';
import type { FunctionPart, PciFunction } from '../pci/function.js';
import { EXTENDED_CAPABILITY } from '../pci/registers.js';
import type { Cdat } from './cdat.js';

/** Data object exchange capability; offsets from its start. PCIe 6.0 §7.9.24. */
const DOE = {
  CAPABILITIES: 0x04,
  CONTROL: 0x08,
  STATUS: 0x0c,
  WRITE_MAILBOX: 0x10,
  READ_MAILBOX: 0x14,
  SIZE: 0x18,
} as const;
const CONTROL = { ABORT: 0x1, INTERRUPT: 0x2, GO: 0x8000_0000 } as const;
const STATUS = { INTERRUPT: 0x2, ERROR: 0x4, READY: 0x8000_0000 } as const;

/** First dword of an object: vendor and type. */
const OBJECT = { DISCOVERY: 0x0000_0001, CDAT: 0x0002_1e98 } as const;
/** Protocols in the order in which discovery lists them. */
const PROTOCOLS = [OBJECT.DISCOVERY, OBJECT.CDAT] as const;
const NO_PROTOCOL = 0x00ff_ffff;
const LAST_ENTRY = 0xffff;
/** Dwords of a request that anybody looks at. */
const REQUEST_DWORDS = 3;
/** Dwords of the longest object. PCIe 6.0 §6.30.1. */
const LONGEST = 2 ** 18;

export interface DoeOptions {
  /** Offset in configuration space; behind the last capability by default. */
  readonly at?: number;
  /** Interrupt message number. */
  readonly vector: number;
  /** Sends that message. */
  interrupt(vector: number): void;
  /** The table at this moment. */
  cdat(): Cdat;
}

/**
 * A DOE mailbox that answers discovery and CDAT reads.
 *
 * @see reference/cxl.md §2.3
 */
export class Doe implements FunctionPart {
  readonly offset: number;
  readonly #fn: PciFunction;
  readonly #options: DoeOptions;
  /** The first dwords of the object being written, and how many came in all. */
  #request: number[] = [];
  #written = 0;
  #response: Uint32Array = new Uint32Array(0);
  #read = 0;
  #interruptEnabled = false;
  #status = 0;

  constructor(fn: PciFunction, options: DoeOptions) {
    this.#fn = fn;
    this.#options = options;
    this.offset = fn.addExtendedCapability(EXTENDED_CAPABILITY.DOE, 1, DOE.SIZE, options.at);
    const { config } = fn;
    config.set(this.offset + DOE.CAPABILITIES, 4, 1 | (options.vector << 1));
    for (const register of [DOE.CONTROL, DOE.STATUS, DOE.WRITE_MAILBOX, DOE.READ_MAILBOX])
      config.setWritable(this.offset + register, 4, 0xffff_ffff);
    fn.onConfigWrite((offset, size) => this.#wrote(offset, size));
    fn.addPart('doe', this);
    this.#show();
  }

  /** Looks at what software stored, then puts back what the registers read. */
  #wrote(offset: number, size: number): void {
    const at = this.offset;
    if (offset >= at + DOE.SIZE || offset + size <= at + DOE.CONTROL) return;
    const touches = (register: number): boolean =>
      offset < at + register + 4 && offset + size > at + register;
    const value = (register: number): number => this.#fn.config.get(at + register, 4);
    const whole = size === 4 && offset % 4 === 0;
    if (touches(DOE.CONTROL)) this.#control(value(DOE.CONTROL));
    else if (touches(DOE.STATUS)) this.#status &= ~(value(DOE.STATUS) & STATUS.INTERRUPT);
    else if (whole && touches(DOE.WRITE_MAILBOX)) this.#take(value(DOE.WRITE_MAILBOX));
    else if (whole && touches(DOE.READ_MAILBOX)) this.#next();
    this.#show();
  }

  #control(value: number): void {
    if ((value & CONTROL.ABORT) !== 0) {
      this.#clear();
      this.#status &= ~STATUS.ERROR;
      return;
    }
    this.#interruptEnabled = (value & CONTROL.INTERRUPT) !== 0;
    if ((value & CONTROL.GO) !== 0) this.#go();
  }

  #take(dword: number): void {
    if (this.#written >= LONGEST) {
      this.#fail();
      return;
    }
    if (this.#written < REQUEST_DWORDS) this.#request.push(dword);
    this.#written++;
  }

  #next(): void {
    if (this.#read >= this.#response.length) {
      this.#fail();
      return;
    }
    this.#read++;
    if (this.#read === this.#response.length) this.#clear();
  }

  /** Runs the request; one whose length is not what it says is silently discarded. */
  #go(): void {
    if ((this.#status & STATUS.ERROR) !== 0) return;
    const [object, length = 0] = this.#request;
    const complete = this.#written === (length & (LONGEST - 1) || LONGEST);
    const response = complete ? this.#answer(object) : 'discard';
    this.#clear();
    if (response === 'error') this.#fail();
    if (typeof response === 'string') return;
    this.#response = response;
    this.#status |= STATUS.READY;
    this.#signal();
  }

  #answer(object: number | undefined): Uint32Array | 'discard' | 'error' {
    const argument = this.#request[2];
    if (argument === undefined) return 'discard';
    if (object === OBJECT.DISCOVERY) return discovery(argument & 0xff);
    if (object === OBJECT.CDAT) return cdatEntry(this.#options.cdat(), argument >>> 16);
    return 'discard';
  }

  #fail(): void {
    this.#status |= STATUS.ERROR;
    this.#signal();
  }
  #signal(): void {
    if (!this.#interruptEnabled || (this.#status & STATUS.INTERRUPT) !== 0) return;
    this.#status |= STATUS.INTERRUPT;
    this.#options.interrupt(this.#options.vector);
  }
  #clear(): void {
    this.#request = [];
    this.#written = 0;
    this.#response = new Uint32Array(0);
    this.#read = 0;
    this.#status &= ~STATUS.READY;
  }

  #show(): void {
    const { config } = this.#fn;
    config.set(this.offset + DOE.CONTROL, 4, this.#interruptEnabled ? CONTROL.INTERRUPT : 0);
    config.set(this.offset + DOE.STATUS, 4, this.#status);
    config.set(this.offset + DOE.WRITE_MAILBOX, 4, 0);
    config.set(this.offset + DOE.READ_MAILBOX, 4, this.#response[this.#read] ?? 0);
  }

  reset(): void {
    this.#clear();
    this.#status = 0;
    this.#interruptEnabled = false;
    this.#show();
  }

  save(): StateValue {
    return {
      request: [...this.#request],
      written: this.#written,
      response: [...this.#response],
      read: this.#read,
      status: this.#status >>> 0,
      interruptEnabled: this.#interruptEnabled,
    };
  }
  prepareLoad(state: StateValue | undefined): () => void {
    const saved = savedDoe(state, 'saved DOE mailbox');
    const { request, written, response, read, status, interruptEnabled } = saved;
    if (request.length !== Math.min(written, REQUEST_DWORDS) || read > response.length)
      throw refused('saved DOE mailbox does not fit: its counts are not those of its objects');
    return () => {
      this.#request = request;
      this.#written = written;
      this.#response = Uint32Array.from(response);
      this.#read = read;
      this.#status = status;
      this.#interruptEnabled = interruptEnabled;
      this.#show();
    };
  }
}

const dword = integer(0xffff_ffff);
const savedDoe = fields({
  request: list(dword, REQUEST_DWORDS),
  written: integer(LONGEST),
  response: list(dword, LONGEST),
  read: integer(LONGEST),
  status: dword,
  interruptEnabled: flag,
});

/** The protocol of an index, and the next index. PCIe 6.0 §6.30.1.1. */
const discovery = (index: number): Uint32Array => {
  const protocol = PROTOCOLS[index] ?? NO_PROTOCOL;
  const next = index + 1 < PROTOCOLS.length ? index + 1 : 0;
  return Uint32Array.from([OBJECT.DISCOVERY, 3, protocol | (next << 24)]);
};

/** One entry of the table and the handle of the next. CXL 3.1 §8.1.11. */
const cdatEntry = ({ entries }: Cdat, handle: number): Uint32Array | 'error' => {
  const entry = entries[handle];
  if (entry === undefined) return 'error';
  const next = handle + 1 < entries.length ? handle + 1 : LAST_ENTRY;
  const dwords = Math.ceil(entry.length / 4);
  const padded = new Uint8Array(4 * dwords);
  padded.set(entry);
  const view = new DataView(padded.buffer);
  const body = Array.from({ length: dwords }, (_, i) => view.getUint32(4 * i, true));
  return Uint32Array.from([OBJECT.CDAT, 3 + dwords, next * 0x1_0000, ...body]);
};
