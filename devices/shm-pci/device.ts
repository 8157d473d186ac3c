import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { HostMemory } from '../core/host-memory.js';
import type { MemdevBackend } from '../core/memdev.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { fields, map } from '../core/saved-state.js';
import { RegisterFile } from '../core/register-file.js';
import type { IvshmemClient } from '../ivshmem/client.js';
import { MSIX_BAR, registerMemoryBar, REGISTERS_BAR } from '../ivshmem/identity.js';
import { serverLink } from '../ivshmem/server-link.js';
import type { IvshmemPeer, ServerView } from '../ivshmem/server-view.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import { MsiX } from '../pci/msix.js';
import type { ShmPciProperties } from './properties.js';
import { IDENTITY, REGISTERS, REGISTERS_SIZE, STATUS_VECTORS } from './registers.js';

/** The memory of property `memdev`, or of the server. */
const OWN_MEMORY = 'memory';

type PropertySet = PropertyValues<typeof ShmPciProperties>;

/** Bits of STATUS and MASK for one vector; none for vectors that have no bit. */
const bitOf = (vector: number): bigint => (vector < STATUS_VECTORS ? 1n << BigInt(vector) : 0n);

/**
 * Memory in a BAR with registers that tell any driver what it is for; with an ivshmem server also
 * doorbells between the peers.
 *
 * @see reference/pci-and-memory-devices.md §9.7
 */
export class ShmPci implements PciDevice, IvshmemPeer {
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #properties: PropertySet;
  readonly #registers = new RegisterFile(REGISTERS);
  #claimed: MemdevBackend | undefined;
  #client: IvshmemClient | undefined;
  #msix: MsiX | undefined;
  #memory: HostMemory | undefined;
  #unblock: () => void = () => undefined;

  constructor(context: DeviceContext, properties: PropertySet) {
    this.#context = context;
    this.#properties = properties;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: {
        ...IDENTITY,
        vendorId: properties['vendor-id'],
        deviceId: properties['device-id'],
      },
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
  }

  /** @throws QmpError without memory, or when memory or server cannot be used */
  async realize(): Promise<void> {
    const { memdev, chardev = '' } = this.#properties;
    if (memdev === undefined && chardev === '')
      throw refused("You must specify a 'memdev' or a 'chardev'");
    try {
      memdev?.claim(this.#context.path);
      this.#claimed = memdev;
      if (chardev !== '') await this.#connect(chardev);
      this.#registerBars();
    } catch (error) {
      this.unrealize();
      throw error;
    }
  }

  async #connect(chardev: string): Promise<void> {
    const { memdev, vectors } = this.#properties;
    this.#client = serverLink(this.#context, chardev, {
      vectors,
      mapsMemory: memdev === undefined,
      interrupt: (vector) => this.#rung(vector),
    });
    await this.#client.connect();
    this.#unblock = this.#context.blockMigration(
      `Migration is disabled when using an ivshmem server in device '${this.#context.typeName}'`,
    );
  }

  #registerBars(): void {
    const memory = this.#claimed?.memory ?? this.#client?.memory;
    if (memory === undefined) throw new Error('shm-pci without memory');
    this.#memory = memory;
    const ops = {
      read: (offset: number, width: number) => this.#registers.read(offset, width),
      write: (offset: number, width: number, value: bigint) => this.#write(offset, width, value),
    };
    const widths = { min: 4, max: 8 } as const;
    const registers = MemoryRegion.mmio('shm-pci registers', REGISTERS_SIZE, ops, {
      valid: widths,
      impl: widths,
    });
    this.pci.registerBar(REGISTERS_BAR, registers, { type: 'memory' });
    this.#msix = new MsiX(this.pci, { vectors: this.#properties.vectors, bar: MSIX_BAR });
    registerMemoryBar(this.pci, 'shm-pci memory', this.#context.memories.add(OWN_MEMORY, memory));
    this.#resetRegisters();
  }

  unrealize(): void {
    this.#unblock();
    this.pci.close();
    this.#context.memories.remove(OWN_MEMORY);
    this.#msix = undefined;
    this.#memory = undefined;
    this.#client?.close();
    this.#client = undefined;
    this.#claimed?.release();
    this.#claimed = undefined;
  }

  /** Status and mask are cleared, MSI-X is off; memory, own id and peers stay. */
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#resetRegisters();
  }

  #resetRegisters(): void {
    this.#registers.reset();
    this.#registers.set('TAG', BigInt(this.#properties.tag));
    this.#registers.set('MEMORY_SIZE', this.#memory?.size ?? 0n);
    this.#showServer();
  }

  /** What depends on the server that this device has. */
  #showServer(): void {
    this.#registers.setField('FEATURES', 'DOORBELL', this.#client === undefined ? 0n : 1n);
    this.#registers.set('OWN_ID', BigInt(this.#client?.id ?? 0));
  }

  #write(offset: number, width: number, value: bigint): void {
    const maskBefore = this.#registers.get('MASK');
    const touched = this.#registers.write(offset, width, value);
    if (touched.includes('MASK')) this.#unmasked(maskBefore);
    if (touched.includes('DOORBELL')) this.#ring();
  }

  #ring(): void {
    const peer = Number(this.#registers.getField('DOORBELL', 'PEER'));
    const vector = Number(this.#registers.getField('DOORBELL', 'VECTOR'));
    this.#registers.set('DOORBELL', 0n);
    this.#client?.ring(peer, vector);
  }

  /** Somebody rang; without MSI-X the status alone tells. */
  #rung(vector: number): void {
    const bit = bitOf(vector);
    this.#registers.set('STATUS', this.#registers.get('STATUS') | bit);
    if ((this.#registers.get('MASK') & bit) === 0n) this.#notify(vector);
  }

  /** Vectors that were rung behind the mask get their message now. */
  #unmasked(maskBefore: bigint): void {
    const due = maskBefore & ~this.#registers.get('MASK') & this.#registers.get('STATUS');
    for (let vector = 0; vector < STATUS_VECTORS; vector++)
      if ((due & bitOf(vector)) !== 0n) this.#notify(vector);
  }

  #notify(vector: number): void {
    if (this.#msix?.enabled === true) this.#msix.notify(vector);
  }

  serverView(): ServerView | undefined {
    return this.#client?.view();
  }

  save(): DeviceState {
    return { pci: this.pci.save(), registers: this.#registers.save() };
  }

  /** Own id and features are those of this device's connection, not of the saved one's. */
  load(state: DeviceState): void {
    const { typeName } = this.#context;
    const { pci, registers } = fields({ pci: map, registers: map })(state, `saved ${typeName}`);
    if (registers['MEMORY_SIZE'] !== this.#memory?.size)
      throw refused(
        `saved state does not fit device type ${typeName}: its memory has another size`,
      );
    const apply = [this.pci.prepareLoad(pci), this.#registers.prepareLoad(registers)];
    for (const run of apply) run();
    this.#showServer();
  }
}
