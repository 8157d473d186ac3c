import { refused } from '../../schema/error.js';
import type { CharFrontEnd } from '../core/char-device.js';
import type { Device, DeviceContext, DeviceState } from '../core/device.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { AUTOMATIC, type IsaSerialProperties } from './properties.js';
import { Uart } from './uart.js';

/** Ports and lines of COM1 to COM4. */
const PORTS = [
  { base: 0x3f8, irq: 4 },
  { base: 0x2f8, irq: 3 },
  { base: 0x3e8, irq: 4 },
  { base: 0x2e8, irq: 3 },
] as const;
const LINES = 16;
const LAST_BASE = 0xfff8;
/** Bytes of the peer that wait for room; further ones are dropped. */
const WAITING_BYTES = 65_536;

/** A serial port of a PC: where libvirt puts a console. */
export class IsaSerial implements Device {
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof IsaSerialProperties>;
  readonly #uart: Uart;
  #settled: Readonly<Record<string, bigint>> = {};
  #setLine: (level: boolean) => void = () => undefined;
  #leave: (() => void)[] = [];
  #peer: CharFrontEnd | undefined;
  #waiting: number[] = [];
  /** Bytes that came while the device was stopped: no part of its state yet. */
  #outside: number[] = [];

  constructor(context: DeviceContext, properties: PropertyValues<typeof IsaSerialProperties>) {
    this.#context = context;
    this.#properties = properties;
    this.#uart = new Uart({
      send: (byte) => this.#peer?.write(Uint8Array.of(byte)),
      setInterrupt: (level) => this.#setLine(level),
      hasRoom: () => this.#feed(),
    });
  }

  /** @throws QmpError when no port is left, a number is out of its range, or the chardev is not free */
  realize(): void {
    const bus = this.#context.platform?.isa;
    if (bus === undefined) throw refused(`No 'ISA' bus found for device 'isa-serial'`);
    const { index, iobase, irq, chardev } = this.#properties;
    const number = index === AUTOMATIC ? bus.nextSerial : index;
    const port = PORTS[number];
    if (port === undefined) throw refused('Max. supported number of ISA serial ports is 4.');
    const settled = {
      index: number,
      iobase: iobase === AUTOMATIC ? port.base : iobase,
      irq: irq === AUTOMATIC ? port.irq : irq,
    };
    if (settled.irq >= LINES)
      throw refused(`irq ${String(settled.irq)} of isa-serial is not one of the 16 of the bus`);
    if (settled.iobase > LAST_BASE)
      throw refused(`iobase ${String(settled.iobase)} of isa-serial is not below 65529`);
    if (chardev !== undefined) this.#claim(chardev);
    bus.nextSerial++;
    this.#settled = {
      index: BigInt(settled.index),
      iobase: BigInt(settled.iobase),
      irq: BigInt(settled.irq),
    };
    this.#setLine = bus.line(settled.irq);
    this.#leave.push(bus.map(this.#registers(), settled.iobase));
    this.#leave.push(this.#context.activity.onChange(() => this.#feed()));
  }

  #registers(): MemoryRegion {
    const { activity } = this.#context;
    const ops = {
      read: (offset: number) => BigInt(this.#uart.read(offset, activity.stopped)),
      write: (offset: number, _size: number, value: bigint) => {
        const write = (): void => this.#uart.write(offset, Number(value));
        if (activity.stopped) activity.latch.add(write);
        else write();
      },
    };
    return MemoryRegion.mmio('serial', 8n, ops, { impl: { max: 1 } });
  }

  #claim(id: string): void {
    const peer = this.#context.chardevs.claim(id, 'serial.chardev');
    this.#peer = peer;
    peer.open({
      data: (bytes, descriptors) => {
        for (const fd of descriptors) this.#context.eventNotifiers.discard(fd);
        this.#received(bytes);
      },
      closed: () => undefined,
    });
  }
  #received(bytes: Uint8Array): void {
    const room = WAITING_BYTES - this.#waiting.length - this.#outside.length;
    if (bytes.length > room)
      this.#context.log.warn({ dropped: bytes.length - room }, 'nobody reads the serial port');
    this.#outside.push(...bytes.subarray(0, Math.max(0, room)));
    this.#feed();
  }
  /** Lets bytes in as long as there is room and the device may act. */
  #feed(): void {
    if (this.#context.activity.stopped) return;
    this.#waiting.push(...this.#outside.splice(0));
    while (this.#uart.room > 0) {
      const byte = this.#waiting.shift();
      if (byte === undefined) return;
      this.#uart.receive(byte);
    }
  }

  unrealize(): void {
    this.#setLine(false);
    for (const leave of this.#leave.splice(0)) leave();
    this.#context.activity.latch.clear();
    this.#peer?.release();
    this.#peer = undefined;
    this.#waiting = [];
    this.#outside = [];
  }

  reset(): void {
    this.#uart.reset();
    this.#feed();
  }

  settled(property: string): bigint | undefined {
    return this.#settled[property];
  }

  save(): DeviceState {
    return { uart: this.#uart.save(), waiting: Uint8Array.from(this.#waiting) };
  }
  load({ uart, waiting }: DeviceState): void {
    if (!(waiting instanceof Uint8Array && waiting.length <= WAITING_BYTES))
      throw refused('saved bytes do not fit device type isa-serial');
    this.#uart.prepareLoad(uart)();
    this.#context.activity.latch.clear();
    this.#waiting = [...waiting];
    this.#feed();
  }
}
