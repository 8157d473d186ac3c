import type { Json } from '../side-by-side/client.js';
import type { Qmp } from '../support/qmp.js';
import type { Qtest } from '../support/qtest.js';

/** A machine seen from both sides, whoever hosts it. */
export interface Sides {
  readonly qmp: Qmp;
  readonly qtest: Qtest;
}
export type Kind = 'pc' | 'q35';

/** The slot that the script's devices are in. */
const SLOT = 6;
const MEMORY_BASE = 0xe000_0000;
const COMMAND = 0x04;
const BARS = [0, 1, 2, 3, 4, 5].map((index) => 0x10 + 4 * index);
const MSIX = 0x11;

/** Command line of both programs for the script. */
export const machineWords = (kind: Kind): string[] => [
  ...['-M', kind, '-nodefaults', '-S'],
  // Native hotplug on q35: ACPI numbers slots by bus there, which this script does not follow.
  ...['-global', 'ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off'],
  ...['-object', 'memory-backend-ram,id=m1,size=1M'],
  ...['-object', 'memory-backend-ram,id=m2,size=4M'],
  ...(kind === 'q35' ? ['-device', 'pcie-root-port,id=rp1,chassis=1,slot=1,addr=2.0'] : []),
  ...['-device', `ivshmem-plain,id=iv,memdev=m1,addr=${String(SLOT)}`],
];

/** Runs the guest side of a driver and the management side, and writes down what came back. */
export class Script {
  /** One line for each request and its answer. */
  readonly transcript: string[] = [];
  readonly #sides: Sides;
  readonly #kind: Kind;

  constructor(sides: Sides, kind: Kind) {
    this.#sides = sides;
    this.#kind = kind;
  }

  async run(): Promise<readonly string[]> {
    await this.#enumerate();
    await this.#sizeBars(0, SLOT);
    await this.#mapAndFill(0, SLOT);
    await this.#message();
    await (this.#kind === 'pc' ? this.#plugOnPc() : this.#plugOnQ35());
    return this.transcript;
  }

  async #ask(request: string): Promise<string> {
    const reply = await this.#sides.qtest.ask(request);
    this.transcript.push(`${request} -> ${reply}`);
    return reply;
  }
  async #value(request: string): Promise<number> {
    return Number((await this.#ask(request)).slice(3));
  }
  async #read(bus: number, slot: number, register: number, fn = 0): Promise<number> {
    await this.#select(bus, slot, register, fn);
    return this.#value('inl 0xcfc');
  }
  async #write(bus: number, slot: number, register: number, value: number): Promise<void> {
    await this.#select(bus, slot, register);
    await this.#ask(`outl 0xcfc 0x${value.toString(16)}`);
  }
  /** Control and status of a slot share a dword; a driver writes them apart. */
  async #slot(port: number, register: number, value: number): Promise<void> {
    await this.#select(0, port, register & 0xfc);
    await this.#ask(`outw 0xcf${register % 4 === 0 ? 'c' : 'e'} 0x${value.toString(16)}`);
  }
  #select(bus: number, slot: number, register: number, fn = 0): Promise<string> {
    const address = 2 ** 31 + bus * 65_536 + slot * 2048 + fn * 256 + register;
    return this.#ask(`outl 0xcf8 0x${address.toString(16)}`);
  }

  /** The whole header of what is on bus 0, as firmware reads it. */
  async #enumerate(): Promise<void> {
    for (let slot = 0; slot < 32; slot++) {
      if ((await this.#read(0, slot, 0)) === 0xffffffff) continue;
      for (const register of [0x08, 0x0c, 0x10, 0x18, 0x2c, 0x34, 0x3c])
        // The programs differ in bits of the board's own functions that no driver here asks for.
        if (slot === SLOT || register === 0x08) await this.#read(0, slot, register);
    }
  }

  async #sizeBars(bus: number, slot: number): Promise<void> {
    for (const register of BARS) {
      await this.#write(bus, slot, register, 0xffffffff);
      await this.#read(bus, slot, register);
      await this.#write(bus, slot, register, 0);
      await this.#read(bus, slot, register);
    }
  }

  /** BAR0 and BAR2, registers of every width, patterns across the memory. */
  async #mapAndFill(bus: number, slot: number): Promise<void> {
    const [registers, memory] = [MEMORY_BASE, MEMORY_BASE + 0x40_0000];
    await this.#write(bus, slot, 0x10, registers);
    await this.#write(bus, slot, 0x18, memory);
    await this.#write(bus, slot, COMMAND, 0x2);
    await this.#read(bus, slot, COMMAND);
    for (const request of [
      ...[`writel ${hex(registers)} 0xdeadbeef`, `readl ${hex(registers)}`],
      ...[0, 1, 2, 3].map((at) => `readb ${hex(registers + at)}`),
      ...[`readq ${hex(registers)}`, `readw ${hex(registers + 2)}`, `readl ${hex(registers + 8)}`],
      ...[`writel ${hex(registers + 4)} 5`, `readl ${hex(registers + 4)}`],
      ...[`readl ${hex(registers + 4)}`, `readl ${hex(registers + 0x100)}`],
      ...[`read ${hex(registers + 0xfc)} 16`, `writeb ${hex(registers + 1)} 0x11`],
      ...[`readl ${hex(registers)}`, `read ${hex(registers - 3)} 9`],
    ])
      await this.#ask(request);
    for (const offset of [0, 1, 0xffd, 0x7_fffd, 0xf_fff0, 0xf_fff9])
      for (const request of [
        `writeq ${hex(memory + offset)} 0x${'8877665544332211'}`,
        `readq ${hex(memory + offset)}`,
        `readw ${hex(memory + offset + 1)}`,
        `read ${hex(memory + offset)} 11`,
        `b64read ${hex(memory + offset)} 7`,
      ])
        await this.#ask(request);
    await this.#ask(`memset ${hex(memory + 0x100)} 0x80 0xa5`);
    await this.#ask(`write ${hex(memory + 0x110)} 16 0x00112233445566778899aabbccddeeff`);
    await this.#ask(`read ${hex(memory + 0xf0)} 0xa0`);
    await this.#write(bus, slot, COMMAND, 0);
    await this.#ask(`readq ${hex(memory)}`);
    await this.#ask(`writeq ${hex(memory)} 0`);
    await this.#write(bus, slot, COMMAND, 2);
    await this.#ask(`readq ${hex(memory)}`);
  }

  /** MSI-X of the root port: finds the capability, programs the entry. */
  async #message(): Promise<void> {
    if (this.#kind !== 'q35') return;
    const port = 2;
    let at = (await this.#read(0, port, 0x34)) & 0xff;
    for (let links = 0; at !== 0 && links < 16; links++) {
      const header = await this.#read(0, port, at & 0xfc);
      if ((header & 0xff) === MSIX) break;
      at = (header >> 8) & 0xff;
    }
    await this.#read(0, port, at + 4);
    await this.#read(0, port, at + 8);
    const table = 0xe100_0000;
    await this.#write(0, port, 0x10, table);
    await this.#write(0, port, COMMAND, 6);
    for (const request of [
      `read ${hex(table)} 32`,
      ...[`writel ${hex(table)} 0x2000`, `writel ${hex(table + 4)} 0`],
      ...[`writel ${hex(table + 8)} 0xcafef00d`, `writel ${hex(table + 12)} 0`],
      ...[`readq ${hex(table)}`, `readq ${hex(table + 8)}`, `readw ${hex(table)}`],
      ...[`readl ${hex(table + 0x800)}`, `writel ${hex(table + 0x800)} 1`],
      `readl ${hex(table + 0x800)}`,
    ])
      await this.#ask(request);
    await this.#write(0, port, at, 0x8000_0000);
    await this.#read(0, port, at);
    await this.#ask('readl 0x2000');
  }

  async #plugOnPc(): Promise<void> {
    const hot = SLOT + 1;
    await this.#manage('device_add', {
      ...{ driver: 'ivshmem-plain', id: 'hot', memdev: 'm2', addr: String(hot) },
    });
    await this.#ask('inl 0xae00');
    await this.#ask('inl 0xae00');
    await this.#read(0, hot, 0);
    await this.#sizeBars(0, hot);
    await this.#mapAndFill(0, hot);
    await this.#manage('device_del', { id: 'hot' });
    await this.#manage('device_del', { id: 'hot' });
    await this.#ask('inl 0xae04');
    await this.#ask(`outl 0xae08 ${hex(1 << hot)}`);
    await this.#deleted();
    await this.#read(0, hot, 0);
    await this.#ask('inl 0xae04');
    await this.#manage('object-del', { id: 'm2' });
  }

  /** Bus 1 behind the port; the guest switches the slot on and off. */
  async #plugOnQ35(): Promise<void> {
    const [port, slotControl] = [2, 0x6c];
    await this.#write(0, port, 0x18, 0x0001_0100);
    await this.#write(0, port, 0x20, 0xe0f0_e000);
    await this.#write(0, port, 0x24, 0xe0f0_e000);
    await this.#write(0, port, COMMAND, 6);
    await this.#manage('device_add', {
      ...{ driver: 'ivshmem-plain', id: 'hot', memdev: 'm2', bus: 'rp1' },
    });
    await this.#read(0, port, slotControl);
    await this.#read(1, 0, 0);
    await this.#slot(port, slotControl, 0x01e9);
    await this.#slot(port, slotControl + 2, 0x0049);
    await this.#read(0, port, slotControl);
    await this.#read(1, 0, 0);
    await this.#sizeBars(1, 0);
    await this.#mapAndFill(1, 0);
    await this.#manage('device_del', { id: 'hot' });
    await this.#manage('device_del', { id: 'hot' });
    await this.#read(0, port, slotControl);
    await this.#slot(port, slotControl + 2, 0x0001);
    await this.#read(0, port, slotControl);
    await this.#slot(port, slotControl, 0x07e9);
    await this.#deleted();
    await this.#read(0, port, slotControl);
    await this.#read(1, 0, 0);
    await this.#manage('object-del', { id: 'm2' });
  }

  async #manage(command: string, args: Record<string, Json>): Promise<void> {
    const answer = await this.#sides.qmp.execute(command, args).then(
      () => 'done',
      (error: Error) => error.message,
    );
    this.transcript.push(`${command} -> ${answer}`);
  }
  async #deleted(): Promise<void> {
    const { data } = await this.#sides.qmp.event('DEVICE_DELETED');
    this.transcript.push(`DEVICE_DELETED ${String(data?.['device'])} ${String(data?.['path'])}`);
  }
}

const hex = (value: number): string => `0x${value.toString(16)}`;
