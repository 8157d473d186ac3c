import { refused } from '../../schema/error.js';
import { MemAttached, MemDetached } from '../../schema/guest.js';
import type { MemAttachment } from '../../schema/guest.js';
import type { Infer } from '../../schema/lang.js';
import type { Device, DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { FlushableDevice } from '../core/flushable-device.js';
import { HostError } from '../core/host-memory.js';
import type { HostFile } from '../core/host-memory.js';
import { MemoryRegion } from '../core/memory-region.js';
import type { PropertyValues } from '../core/property.js';
import { RegisterFile } from '../core/register-file.js';
import { fields, list, map, unsigned } from '../core/saved-state.js';
import { addPcieCapability, endpointType } from '../pci/capabilities.js';
import { PciFunction } from '../pci/function.js';
import type { PciDevice } from '../pci/function.js';
import { Msi } from '../pci/msi.js';
import { Attachments } from './attachments.js';
import type { Place } from './attachments.js';
import { Backing } from './backing.js';
import type { DynamicMdeviceProperties } from './properties.js';
import {
  COMMAND,
  EVENT,
  EXPRESS_AT,
  IDENTITY,
  MAX_ATTACHMENTS,
  MEMORY_BAR,
  MSI_AT,
  REGISTERS,
  REGISTERS_BAR,
  REGISTERS_SIZE,
} from './registers.js';

type PropertySet = PropertyValues<typeof DynamicMdeviceProperties>;
export type MemAttachmentInfo = Infer<typeof MemAttachment>;

/** A device that can tell what host memory is attached to it. */
export interface AttachmentHolder extends Device {
  /** By position in the BAR. */
  attachments(): MemAttachmentInfo[];
}
/** The device as a holder of attachments, when it is one. */
export const asAttachmentHolder = (device: Device): AttachmentHolder | undefined =>
  typeof Reflect.get(device, 'attachments') === 'function'
    ? (device as AttachmentHolder)
    : undefined;

const MAX_OFFSET = (1n << 63n) - 1n;
const isPowerOfTwo = (value: bigint): boolean => value > 0n && (value & (value - 1n)) === 0n;
const hex = (value: bigint): string => `0x${value.toString(16)}`;
const backingRefusal = (text: string, error: unknown): unknown =>
  error instanceof HostError ? refused(`${text}: ${error.message}`, error) : error;

/**
 * A PCI window into which the guest side attaches pieces of a file or device of the host.
 *
 * @see reference/pci-and-memory-devices.md §7
 */
export class DynamicMdevice implements PciDevice, AttachmentHolder, FlushableDevice {
  readonly pci: PciFunction;
  readonly #context: DeviceContext;
  readonly #properties: PropertySet;
  readonly #registers = new RegisterFile(REGISTERS);
  #msi: Msi | undefined;
  #backing: Backing | undefined;
  #attachments: Attachments | undefined;

  constructor(context: DeviceContext, properties: PropertySet) {
    this.#context = context;
    this.#properties = properties;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: {
        ...IDENTITY,
        vendorId: properties['x-pci-vendor-id'],
        deviceId: properties['x-pci-device-id'],
      },
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
  }

  /** @throws QmpError when a property is out of range, or the host object cannot be used */
  realize(): void {
    this.#checkSizes();
    this.#backing = this.#openBacking();
    try {
      this.#addCapabilities();
      this.#registerBars();
    } catch (error) {
      this.unrealize();
      throw error;
    }
    this.#resetRegisters();
  }

  /** Silent for the guest side: no status, no message. Defect 20 */
  unrealize(): void {
    this.#detachAll();
    this.pci.close();
    this.#msi = undefined;
    this.#backing?.close();
    this.#backing = undefined;
  }

  /** Everything is detached and every register cleared, without a message. Defect 19 */
  reset(_type: ResetType): void {
    this.#detachAll();
    this.pci.reset();
    this.#resetRegisters();
  }

  attachments(): MemAttachmentInfo[] {
    const places = [...(this.#attachments?.places ?? [])];
    places.sort((a, b) => (a.barOffset < b.barOffset ? -1 : 1));
    return places.map(({ barOffset, offset, size }) => ({ 'bar-offset': barOffset, size, offset }));
  }

  async flush(): Promise<void> {
    await this.#attachments?.flush();
  }

  save(): DeviceState {
    const attachments = (this.#attachments?.places ?? []).map((place) => ({ ...place }));
    return { pci: this.pci.save(), registers: this.#registers.save(), attachments };
  }

  load(state: DeviceState): void {
    const { typeName } = this.#context;
    const { pci, registers, attachments } = savedMdevice(state, `saved ${typeName}`);
    if (registers['MEM_ALIGN'] !== BigInt(this.#properties.align))
      throw refused(`saved state does not fit device type ${typeName}: it has another alignment`);
    const apply = [this.pci.prepareLoad(pci), this.#registers.prepareLoad(registers)];
    this.#replace(this.#attachments?.places ?? [], attachments);
    for (const run of apply) run();
  }

  // Life.

  #checkSizes(): void {
    const { size } = this.#properties;
    const align = BigInt(this.#properties.align);
    const page = this.#context.hostMemory.pageSize;
    if (!isPowerOfTwo(size) || size < 4096n) throw refused('size must be a power of two');
    if (align === 0n || align % page !== 0n)
      throw refused(`alignment ${hex(align)} must be multiples of page size ${hex(page)}`);
    if (!isPowerOfTwo(align)) throw refused(`alignment ${hex(align)} must be a power of two`);
    if (align > size) throw refused(`alignment ${hex(align)} must not be above size ${hex(size)}`);
  }

  /** Opens the host object and maps a piece of it once, to learn now whether that can be done. */
  #openBacking(): Backing {
    const { 'mem-path': path, align } = this.#properties;
    const { 'window-offset': first, 'window-size': length } = this.#properties;
    if (path === undefined || path === '') throw refused('mem-path property not set');
    let file: HostFile | undefined;
    try {
      file = this.#context.hostMemory.open(path);
      file.map(first - (first % BigInt(align)), BigInt(align)).close();
      const { memories, hostMemory } = this.#context;
      const limits = { first, length, align: BigInt(align) };
      return new Backing({ file, limits, memories, pageSize: hostMemory.pageSize });
    } catch (error) {
      file?.close();
      throw file === undefined
        ? backingRefusal(`can't open backing store ${path} for guest RAM`, error)
        : backingRefusal(`unable to map backing store ${path} for guest RAM`, error);
    }
  }

  #addCapabilities(): void {
    this.#msi = new Msi(this.pci, { vectors: 1, bits64: true, at: MSI_AT });
    if (this.pci.bus?.express === true)
      addPcieCapability(this.pci, { type: endpointType(this.pci), at: EXPRESS_AT });
  }

  #registerBars(): void {
    const { size } = this.#properties;
    const registers = MemoryRegion.mmio(
      'dynamic-mdevice registers',
      REGISTERS_SIZE,
      {
        read: (offset, width) => this.#registers.read(offset, width),
        write: (offset, width, value) => this.#writeRegisters(offset, width, value),
      },
      { valid: { min: 4, max: 8 }, impl: { min: 4, max: 8 } },
    );
    const memory = MemoryRegion.container('dynamic-mdevice memory', size);
    memory.add(this.#background(size), 0n, -1);
    this.#attachments = new Attachments(memory);
    this.pci.registerBar(REGISTERS_BAR, registers, { type: 'memory' });
    this.pci.registerBar(MEMORY_BAR, memory, { type: 'memory', bits64: true, prefetch: true });
  }

  /** What accesses between attachments meet. Defect 29 */
  #background(size: bigint): MemoryRegion {
    const unmapped = (): bigint => {
      if (!this.#context.activity.stopped) this.#raise(EVENT.UNMAPPED_ACCESS);
      return 0n;
    };
    const ops = { read: unmapped, write: () => void unmapped() };
    const rules = { valid: { max: 8 }, impl: { max: 8 } } as const;
    return MemoryRegion.mmio('dynamic-mdevice background', size, ops, rules);
  }

  #resetRegisters(): void {
    this.#registers.reset();
    this.#registers.set('MEM_ALIGN', BigInt(this.#properties.align));
  }

  // Registers.

  #writeRegisters(offset: number, width: number, value: bigint): void {
    const maskBefore = this.#registers.get('INT_MASK');
    const touched = this.#registers.write(offset, width, value);
    if (touched.includes('INT_MASK')) this.#unmasked(maskBefore);
    if (touched.includes('DOOR_BELL')) this.#ringDoorBell();
  }

  /** A message is due for events that were waiting behind the mask. */
  #unmasked(maskBefore: bigint): void {
    const released = maskBefore & ~this.#registers.get('INT_MASK');
    if ((released & this.#registers.get('INT_STATUS')) !== 0n) this.#msi?.notify(0);
  }

  #raise(events: bigint): void {
    const before = this.#registers.get('INT_STATUS');
    this.#registers.set('INT_STATUS', before | events);
    if ((events & ~before & ~this.#registers.get('INT_MASK')) !== 0n) this.#msi?.notify(0);
  }

  #ringDoorBell(): void {
    const enabled = this.#registers.getField('DOOR_BELL', 'ENABLE') === 1n;
    const command = this.#registers.getField('DOOR_BELL', 'COMMAND');
    this.#registers.set('DOOR_BELL', 0n);
    if (!enabled) return;
    const size = this.#registers.get('MEM_SIZE');
    const offset = this.#registers.get('MEM_OFFSET');
    if (command === COMMAND.ATTACH) this.#raise(this.#attach(size, offset));
    else if (command === COMMAND.DETACH) this.#raise(this.#detach(size, offset));
    else this.#raise(EVENT.BAD_COMMAND);
  }

  // Attaching; checks in the order of §7.4.

  #attach(size: bigint, offset: bigint): bigint {
    if (!this.#isAligned({ size, offset })) return EVENT.BAD_ALIGNMENT;
    const attachments = this.#attachments;
    const barOffset = attachments?.findRoom(size, this.#registers.get('HW_OFFSET'));
    if (attachments === undefined || barOffset === undefined) return EVENT.NO_MEMORY;
    if (attachments.count >= MAX_ATTACHMENTS) return EVENT.NO_MEMORY;
    const place = { barOffset, offset, size };
    if (!this.#isInside(place) || !this.#tryMap(place)) return EVENT.NO_MEMORY;
    this.#registers.set('HW_OFFSET', barOffset + size);
    this.#context.emit(MemAttached, this.#eventData([place]));
    return EVENT.ATTACHED;
  }

  #isAligned({ size, offset }: Omit<Place, 'barOffset'>): boolean {
    const align = BigInt(this.#properties.align);
    return size !== 0n && size % align === 0n && offset % align === 0n;
  }
  /** Whether the host object and the window hold the range. Defects 13, 14 */
  #isInside(place: Place): boolean {
    return place.offset + place.size <= MAX_OFFSET && this.#backing?.holds(place) === true;
  }

  #tryMap(place: Place): boolean {
    try {
      this.#map(place);
      return true;
    } catch (error) {
      if (!(error instanceof HostError)) throw error;
      this.#context.log.debug({ ...place, reason: error.message }, 'attachment refused by host');
      return false;
    }
  }

  #map(place: Place): void {
    if (this.#backing === undefined || this.#attachments === undefined)
      throw new Error('attachment to a device that is not realized');
    this.#attachments.add(place, this.#backing);
  }

  #detach(size: bigint, offset: bigint): bigint {
    const found = this.#attachments?.findLast(offset, size);
    if (size === 0n) this.#detachAll();
    else if (found === undefined) return EVENT.BAD_COMMAND;
    else this.#remove([found]);
    this.#registers.set('HW_OFFSET', this.#attachments?.highestEnd ?? 0n);
    return EVENT.DETACHED;
  }

  #detachAll(): void {
    this.#remove(this.#attachments?.places ?? []);
  }

  #remove(places: readonly Place[]): void {
    if (places.length === 0) return;
    this.#attachments?.remove(places);
    this.#context.emit(MemDetached, this.#eventData(places));
  }

  #eventData(places: readonly Place[]) {
    const { id, path } = this.#context;
    const ranges = places.map(({ offset, size }) => ({ offset, len: size }));
    return { ...(id === undefined ? {} : { device: id }), path, ranges };
  }

  /** All of `next` instead of `before`, or nothing changed. @throws QmpError */
  #replace(before: readonly Place[], next: readonly Place[]): void {
    this.#attachments?.remove(before);
    try {
      for (const place of next) {
        const fits = this.#attachments?.findRoom(place.size, place.barOffset) === place.barOffset;
        if (!fits || !this.#isAligned(place) || !this.#isInside(place))
          throw new HostError('ENXIO', 'No such device or address');
        this.#map(place);
      }
    } catch (error) {
      this.#attachments?.remove(this.#attachments.places);
      for (const place of before) this.#map(place);
      throw backingRefusal('saved attachments do not fit the host object', error);
    }
  }
}

const savedMdevice = fields({
  pci: map,
  registers: map,
  /** In the order in which they were made. */
  attachments: list(
    fields({ barOffset: unsigned(), offset: unsigned(), size: unsigned() }),
    MAX_ATTACHMENTS,
  ),
});
