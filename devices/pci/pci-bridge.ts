import { refused } from '../../schema/error.js';
import type { DeviceContext } from '../core/device.js';
import { bool, onOffAuto, uint8 } from '../core/property.js';
import type { PropertyValues } from '../core/property.js';
import { ConventionalBridge } from './conventional-bridge.js';
import { Msi } from './msi.js';
import { addReserve, reserveProperties } from './reserve.js';

/** Slot numbering capability. PCI-to-PCI Bridge 1.2 §13.3. */
const SLOT_ID = { CAPABILITY: 0x04, SIZE: 4, SLOTS: 2, CHASSIS: 3 } as const;
const FIRST_IN_CHASSIS = 0x20;

export const pciBridgeProperties = {
  chassis_nr: uint8(0, 'chassis number, above 0'),
  msi: onOffAuto('auto', 'message-signalled interrupts'),
  shpc: bool(true, 'standard hot-plug controller'),
  ...reserveProperties,
} as const;

export type PciBridgeValues = PropertyValues<typeof pciBridgeProperties>;

/** Conventional bridge on a conventional bus; its own device type and the inside of pxb. */
export class PciBridge extends ConventionalBridge {
  readonly #properties: PciBridgeValues;

  constructor(context: DeviceContext, properties: PciBridgeValues, id = context.id) {
    super(context, {
      typeName: 'pci-bridge',
      id,
      deviceId: 0x0001,
      express: false,
      shpc: properties.shpc,
    });
    this.#properties = properties;
    const { config } = this.pci;
    const at = this.pci.addCapability(SLOT_ID.CAPABILITY, SLOT_ID.SIZE);
    config.set(at + SLOT_ID.SLOTS, 1, FIRST_IN_CHASSIS);
    config.set(at + SLOT_ID.CHASSIS, 1, properties.chassis_nr);
    config.setWritable(at + SLOT_ID.CHASSIS, 1, 0xff);
    // As QEMU: without the controller nothing in the bridge could interrupt.
    if (properties.shpc && properties.msi !== 'off')
      new Msi(this.pci, { vectors: 1, bits64: true, mask: true });
  }

  override realize(): void {
    if (this.#properties.chassis_nr === 0)
      throw refused(
        'Bridge chassis not specified. Each bridge is required to be assigned a unique chassis id > 0.',
      );
    addReserve(this.pci, this.#properties);
  }
}
