import { refused } from '../../schema/error.js';
import type { JsonValue } from '../../schema/json.js';
import { MemoryDeviceSizeChange } from '../../schema/memory.js';
import type { DeviceContext, DeviceState, LiveProperty, ResetType } from '../core/device.js';
import type { MemdevBackend } from '../core/memdev.js';
import type { MemoryDevice, ResizableMemoryPart } from '../core/memory-device.js';
import type { PropertyValues } from '../core/property.js';
import { fields, map, part, unsigned } from '../core/saved-state.js';
import { addPcieCapability, addPowerManagement, endpointType } from '../pci/capabilities.js';
import { PciFunction, type PciDevice } from '../pci/function.js';
import { registerRegisterBar } from '../virtio/register-bar.js';
import { FEATURE, MODERN_DEVICE_ID, VIRTIO_IDENTITY } from '../virtio/registers.js';
import { Transport } from '../virtio/transport.js';
import { PluggedMemory } from './plugged-memory.js';
import type { VirtioMemPciProperties } from './properties.js';
import {
  CONFIG_FIELDS,
  CONFIG_LENGTH,
  STRUCTURES_BAR,
  USABLE_EXTENT,
  VIRTIO_MEM_ID,
} from './registers.js';

type PropertySet = PropertyValues<typeof VirtioMemPciProperties>;

/** As the property says. */
const OWN_MEMORY = 'memdev';
const hex = (value: bigint): string => `0x${value.toString(16)}`;
const smaller = (a: bigint, b: bigint): bigint => (a < b ? a : b);

/**
 * Memory that a guest takes and gives back in blocks, as clients of QMP see it: what is requested,
 * what the guest has, and an event for every change of that. There are no virtqueues: the answers of
 * the guest come from the built-in driver or from `guest-memory-resize`.
 *
 * @see reference/qmp-protocol.md §8.3, Virtio 1.2 §5.15
 */
export class VirtioMemPci implements PciDevice, MemoryDevice {
  readonly pci: PciFunction;
  readonly memoryDevice: ResizableMemoryPart;
  readonly liveProperties: Readonly<Record<string, LiveProperty>>;
  readonly #context: DeviceContext;
  readonly #properties: PropertySet;
  readonly #transport = new Transport({ offered: FEATURE.VERSION_1, vectors: 0 });
  #requestedSize: bigint;
  #claimed: MemdevBackend | undefined;
  #memory: PluggedMemory | undefined;

  constructor(context: DeviceContext, properties: PropertySet) {
    this.#context = context;
    this.#properties = properties;
    this.#requestedSize = properties['requested-size'];
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: {
        ...VIRTIO_IDENTITY,
        deviceId: MODERN_DEVICE_ID + VIRTIO_MEM_ID,
        express: true,
      },
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    this.memoryDevice = this.#memoryPart();
    this.liveProperties = this.#live();
  }

  #memoryPart(): ResizableMemoryPart {
    const { memdev, node, memaddr } = this.#properties;
    return {
      kind: 'virtio-mem',
      id: this.#context.id,
      node,
      addr: memaddr,
      blockSize: this.#properties['block-size'],
      findMemdev: () => {
        if (memdev === undefined) throw refused("'memdev' property must be set");
        return memdev;
      },
      requestedSize: () => this.#requestedSize,
      size: () => this.#size,
      region: () => {
        if (this.#memory === undefined) throw new Error('virtio-mem-pci is not realized');
        return this.#memory.region;
      },
      checkUnplug: () => this.#checkUnplug(),
      resize: (size) => this.#resize(size),
    };
  }

  /** Texts as QEMU: the properties are those of the virtio device inside. */
  #live(): Readonly<Record<string, LiveProperty>> {
    const fixed = (name: string, get: () => JsonValue): LiveProperty => ({
      get,
      set: () => {
        throw refused(
          `Attempt to set property '${name}' on anonymous device (type 'virtio-mem') after it was realized`,
        );
      },
    });
    return {
      memaddr: fixed('memaddr', () => this.memoryDevice.addr),
      node: fixed('node', () => BigInt(this.#properties.node)),
      prealloc: fixed('prealloc', () => this.#properties.prealloc),
      size: {
        get: () => this.#size,
        set: () => {
          throw refused("Property 'virtio-mem.size' is not writable");
        },
      },
      'block-size': {
        get: () => this.#properties['block-size'],
        set: () => {
          throw refused("'block-size' cannot be changed");
        },
      },
      'requested-size': {
        get: () => this.#requestedSize,
        set: (value) => this.#request(value),
      },
    };
  }

  get #size(): bigint {
    return this.#memory?.size ?? 0n;
  }

  /** @throws QmpError when the memory is busy or the requested size is no multiple of a block */
  realize(): void {
    const memdev = this.memoryDevice.findMemdev();
    const block = this.#properties['block-size'];
    if (this.#requestedSize % block !== 0n)
      throw refused(
        `'requested-size' property has to be multiples of 'block-size' (${hex(block)})`,
      );
    if (memdev.inUse) throw refused(`'memdev' property specifies a busy memdev: ${memdev.id}`);
    memdev.claim(this.#context.path);
    this.#claimed = memdev;
    const memory = this.#context.memories.add(OWN_MEMORY, memdev.memory);
    this.#memory = new PluggedMemory(memory, `virtio-mem ${memdev.id}`);
    try {
      this.#addCapabilities();
    } catch (error) {
      this.unrealize();
      throw error;
    }
  }

  /** In the order and at the places that QEMU has them. */
  #addCapabilities(): void {
    const { pci: fn } = this;
    if (fn.bus?.express === true && !fn.bus.isRoot) {
      addPcieCapability(fn, { type: endpointType(fn), functionReset: true });
      addPowerManagement(fn);
    }
    const config = (): Uint8Array => this.#configuration();
    registerRegisterBar(fn, STRUCTURES_BAR, { transport: this.#transport, config });
  }

  unrealize(): void {
    this.pci.close();
    this.#context.memories.remove(OWN_MEMORY);
    this.#memory = undefined;
    this.#claimed?.release();
    this.#claimed = undefined;
  }

  /** As QEMU: all memory is unplugged, what is requested stays. The guest is asked again. */
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#transport.reset();
    this.#change(0n);
    this.#askGuest();
  }

  save(): DeviceState {
    return {
      pci: this.pci.save(),
      transport: this.#transport.save(),
      size: this.#size,
      requestedSize: this.#requestedSize,
    };
  }

  /** The sizes must be multiples of a block and fit the backend. */
  load(state: DeviceState): void {
    const { typeName } = this.#context;
    const { pci, transport, size, requestedSize } = savedMem(state, `saved ${typeName}`);
    const block = this.#properties['block-size'];
    const most = this.#claimed?.memory.size ?? 0n;
    if (size % block !== 0n || requestedSize % block !== 0n || size > most)
      throw refused(`saved state does not fit device type ${typeName}`);
    const apply = [this.pci.prepareLoad(pci), this.#transport.prepareLoad(transport)];
    for (const run of apply) run();
    this.#requestedSize = requestedSize;
    this.#memory?.resize(size);
  }

  /** `qom-set requested-size`. */
  #request(value: JsonValue): void {
    if (typeof value !== 'bigint' || value >= 1n << 64n || value < -(1n << 63n))
      throw refused("Parameter 'requested-size' expects uint64");
    // As QEMU: a negative number is a huge one.
    const size = BigInt.asUintN(64, value);
    const block = this.#properties['block-size'];
    const most = this.memoryDevice.findMemdev().memory.size;
    if (size % block !== 0n)
      throw refused(`'requested-size' has to be multiples of 'block-size' (${hex(block)})`);
    if (size > most)
      throw refused(`'requested-size' cannot exceed the memory backend size(${hex(most)})`);
    if (size === this.#requestedSize) return;
    this.#requestedSize = size;
    this.#askGuest();
  }

  /** The built-in driver takes, or gives back, what it was asked for. */
  #askGuest(): void {
    this.#context.askGuest(() => {
      const most = this.#claimed?.memory.size;
      if (most !== undefined) this.#change(smaller(this.#requestedSize, most));
    });
  }

  #resize(size: bigint): void {
    const block = this.#properties['block-size'];
    const most = smaller(this.#requestedSize, this.memoryDevice.findMemdev().memory.size);
    if (size % block !== 0n)
      throw refused(`size ${String(size)} is no multiple of the block size ${String(block)}`);
    if (size > most && size > this.#size)
      throw refused(`size ${String(size)} is beyond the ${String(most)} bytes that are requested`);
    this.#change(size);
  }

  #change(size: bigint): void {
    if (this.#memory === undefined || size === this.#size) return;
    this.#memory.resize(size);
    const { id, path } = this.#context;
    this.#context.emit(MemoryDeviceSizeChange, {
      ...(id === undefined ? {} : { id }),
      size,
      'qom-path': path,
    });
  }

  /** As QEMU since 8.2; before, such devices could not be unplugged at all. */
  #checkUnplug(): void {
    if (this.#size !== 0n)
      throw refused(
        'virtio-mem device cannot get unplugged while some of its memory is still plugged',
      );
    if (this.#requestedSize !== 0n)
      throw refused("virtio-mem device cannot get unplugged while 'requested-size' != '0'");
  }

  #configuration(): Buffer {
    const bytes = Buffer.alloc(CONFIG_LENGTH);
    const most = this.#claimed?.memory.size ?? 0n;
    const wanted = this.#requestedSize > this.#size ? this.#requestedSize : this.#size;
    bytes.writeBigUInt64LE(this.#properties['block-size'], CONFIG_FIELDS.BLOCK_SIZE);
    bytes.writeUInt16LE(this.#properties.node & 0xffff, CONFIG_FIELDS.NODE_ID);
    bytes.writeBigUInt64LE(this.memoryDevice.addr, CONFIG_FIELDS.ADDR);
    bytes.writeBigUInt64LE(most, CONFIG_FIELDS.REGION_SIZE);
    bytes.writeBigUInt64LE(
      wanted === 0n ? 0n : smaller(wanted + USABLE_EXTENT, most),
      CONFIG_FIELDS.USABLE_REGION_SIZE,
    );
    bytes.writeBigUInt64LE(this.#size, CONFIG_FIELDS.PLUGGED_SIZE);
    bytes.writeBigUInt64LE(this.#requestedSize, CONFIG_FIELDS.REQUESTED_SIZE);
    return bytes;
  }
}

const savedMem = fields({
  pci: map,
  transport: part,
  size: unsigned(),
  requestedSize: unsigned(),
});
