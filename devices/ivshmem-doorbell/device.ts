import { QmpError, refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { PropertyValues } from '../core/property.js';
import { fields, map, part } from '../core/saved-state.js';
import type { IvshmemClient } from '../ivshmem/client.js';
import {
  IVSHMEM_IDENTITY,
  MSIX_BAR,
  registerMemoryBar,
  REGISTERS_BAR,
} from '../ivshmem/identity.js';
import { blockAsPeer, settleMaster } from '../ivshmem/master.js';
import { IvshmemRegisters } from '../ivshmem/registers.js';
import type { IvshmemPeer, ServerView } from '../ivshmem/server-view.js';
import { serverLink } from '../ivshmem/server-link.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import { MsiX } from '../pci/msix.js';
import type { IvshmemDoorbellProperties } from './properties.js';

/** The memory that the server hands out. */
const OWN_MEMORY = 'server';

/**
 * Shared memory from an ivshmem server, whose clients interrupt each other through doorbells.
 *
 * @see reference/pci-and-memory-devices.md §9.1 to §9.5
 */
export class IvshmemDoorbell implements PciDevice, IvshmemPeer {
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof IvshmemDoorbellProperties>;
  readonly #registers: IvshmemRegisters;
  #client: IvshmemClient | undefined;
  #msix: MsiX | undefined;
  #master: 'on' | 'off' | undefined;
  #unblock: () => void = () => undefined;

  constructor(
    context: DeviceContext,
    properties: PropertyValues<typeof IvshmemDoorbellProperties>,
  ) {
    this.#context = context;
    this.#properties = properties;
    this.#registers = new IvshmemRegisters(context.activity);
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: IVSHMEM_IDENTITY,
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
  }

  /**
   * Waits until the server has sent the memory.
   *
   * @throws QmpError with the texts of §9.5
   */
  async realize(): Promise<void> {
    const { chardev, vectors } = this.#properties;
    if (chardev === undefined || chardev === '') throw refused("You must specify a 'chardev'");
    const client = serverLink(this.#context, chardev, {
      vectors,
      mapsMemory: true,
      interrupt: (vector) => this.#interrupt(vector),
    });
    this.#client = client;
    try {
      await client.connect();
      this.#become(client, vectors);
    } catch (error) {
      this.unrealize();
      throw error;
    }
  }

  #become(client: IvshmemClient, vectors: number): void {
    if (client.memory === undefined) throw new Error('an ivshmem client without memory');
    const master = settleMaster(this.#properties.master, client.id);
    if (master === 'on' && client.id !== 0)
      throw refused('master must connect to the server before any peers');
    this.pci.registerBar(REGISTERS_BAR, this.#registers.region(), { type: 'memory' });
    this.#msix = this.#createMsiX(vectors);
    const memory = this.#context.memories.add(OWN_MEMORY, client.memory);
    registerMemoryBar(this.pci, 'ivshmem.bar2', memory);
    this.#registers.doorbells = client;
    this.#master = master;
    this.#unblock = blockAsPeer(this.#context, master);
  }

  #createMsiX(vectors: number): MsiX {
    try {
      return new MsiX(this.pci, { vectors, bar: MSIX_BAR });
    } catch (error) {
      if (!(error instanceof QmpError)) throw error;
      throw refused(`Failed to initialize interrupts: ${error.message}`, error);
    }
  }

  unrealize(): void {
    this.#unblock();
    this.#registers.doorbells = undefined;
    this.pci.close();
    this.#context.memories.remove(OWN_MEMORY);
    this.#msix = undefined;
    this.#client?.close();
    this.#client = undefined;
  }

  /** Mask and status are cleared, MSI-X is off; memory, own id and peers stay. */
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#registers.reset();
  }

  /** An event that comes while MSI-X is not enabled is lost. §9.4 */
  #interrupt(vector: number): void {
    if (this.#msix?.enabled === true) this.#msix.notify(vector);
  }

  serverView(): ServerView | undefined {
    return this.#client?.view();
  }

  settled(property: string): string | undefined {
    return property === 'master' ? this.#master : undefined;
  }

  save(): DeviceState {
    return { pci: this.pci.save(), registers: this.#registers.save() };
  }

  /** Own id and peers are those of this device's connection, not of the saved one's. */
  load(state: DeviceState): void {
    const place = `saved ${this.#context.typeName}`;
    const { pci, registers } = fields({ pci: map, registers: part })(state, place);
    const apply = [this.pci.prepareLoad(pci), this.#registers.prepareLoad(registers)];
    for (const run of apply) run();
  }
}
