import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { MemdevBackend } from '../core/memdev.js';
import type { PropertyValues } from '../core/property.js';
import { fields, map, part } from '../core/saved-state.js';
import { IVSHMEM_IDENTITY, registerMemoryBar, REGISTERS_BAR } from '../ivshmem/identity.js';
import { blockAsPeer, settleMaster } from '../ivshmem/master.js';
import { IvshmemRegisters } from '../ivshmem/registers.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import type { IvshmemPlainProperties } from './properties.js';

/** As the property says. */
const OWN_MEMORY = 'memdev';

/**
 * Shared memory in a BAR, without a server and thus without interrupts.
 *
 * @see reference/pci-and-memory-devices.md §9.1 to §9.3
 */
export class IvshmemPlain implements PciDevice {
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof IvshmemPlainProperties>;
  readonly #registers: IvshmemRegisters;
  #claimed: MemdevBackend | undefined;
  #master: 'on' | 'off' | undefined;
  #unblock: () => void = () => undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof IvshmemPlainProperties>) {
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

  /** @throws QmpError without a memdev, or when it is busy or of a size that no BAR has */
  realize(): void {
    const { memdev } = this.#properties;
    if (memdev === undefined) throw refused("You must specify a 'memdev'");
    memdev.claim(this.#context.path);
    this.#claimed = memdev;
    try {
      this.pci.registerBar(REGISTERS_BAR, this.#registers.region(), { type: 'memory' });
      const memory = this.#context.memories.add(OWN_MEMORY, memdev.memory);
      registerMemoryBar(this.pci, `ivshmem ${memdev.id}`, memory);
    } catch (error) {
      this.unrealize();
      throw error;
    }
    this.#master = settleMaster(this.#properties.master, 0);
    this.#unblock = blockAsPeer(this.#context, this.#master);
  }

  unrealize(): void {
    this.#unblock();
    this.pci.close();
    this.#context.memories.remove(OWN_MEMORY);
    this.#claimed?.release();
    this.#claimed = undefined;
  }

  /** Mask and status are cleared; the shared memory stays. */
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#registers.reset();
  }

  settled(property: string): string | undefined {
    return property === 'master' ? this.#master : undefined;
  }

  save(): DeviceState {
    return { pci: this.pci.save(), registers: this.#registers.save() };
  }

  load(state: DeviceState): void {
    const place = `saved ${this.#context.typeName}`;
    const { pci, registers } = fields({ pci: map, registers: part })(state, place);
    const apply = [this.pci.prepareLoad(pci), this.#registers.prepareLoad(registers)];
    for (const run of apply) run();
  }
}
