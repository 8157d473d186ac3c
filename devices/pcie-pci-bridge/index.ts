import { deviceType } from '../core/device.js';
import { onOffAuto } from '../core/property.js';
import type { DeviceContext } from '../core/device.js';
import { addAer, addPcieCapability, addPowerManagement, EXPRESS } from '../pci/capabilities.js';
import { ConventionalBridge } from '../pci/conventional-bridge.js';
import { Msi } from '../pci/msi.js';
import { PORT_TYPE } from '../pci/registers.js';

/** Offsets in configuration space; reference/pci-and-memory-devices.md §1.12. SHPC is at 0x40. */
const LAYOUT = { EXPRESS: 0x48, POWER: 0x84, MSI: 0x8c, AER: 0x100 } as const;

/** PCIe 5.0 §7.5.3.15, §7.5.3.16. */
const ARI_FORWARDING = 0x20;

const create = (context: DeviceContext, msi: 'on' | 'off' | 'auto'): ConventionalBridge => {
  const bridge = new ConventionalBridge(context, {
    typeName: context.typeName,
    id: context.id,
    deviceId: 0x000e,
    express: true,
    shpc: true,
  });
  const { pci } = bridge;
  addPcieCapability(pci, { type: PORT_TYPE.PCI_BRIDGE, at: LAYOUT.EXPRESS });
  const { DEVICE_CAPABILITIES_2, DEVICE_CONTROL_2 } = EXPRESS;
  const offered = pci.config.get(LAYOUT.EXPRESS + DEVICE_CAPABILITIES_2, 1);
  pci.config.set(LAYOUT.EXPRESS + DEVICE_CAPABILITIES_2, 1, offered | ARI_FORWARDING);
  pci.config.setWritable(LAYOUT.EXPRESS + DEVICE_CONTROL_2, 1, ARI_FORWARDING);
  const power = addPowerManagement(pci, { at: LAYOUT.POWER, noSoftReset: false });
  // As QEMU: the state field cannot be written.
  pci.config.setWritable(power + 4, 2, 0);
  addAer(pci, { at: LAYOUT.AER });
  if (msi !== 'off') new Msi(pci, { vectors: 1, bits64: true, mask: true, at: LAYOUT.MSI });
  return bridge;
};

export const pciePciBridge = deviceType({
  name: 'pcie-pci-bridge',
  parent: 'base-pci-bridge',
  category: 'bridge',
  description: 'PCIE-to-PCI Bridge',
  interfaces: ['pci-express-device'],
  properties: { msi: onOffAuto('auto', 'message-signalled interrupts') },
  create: (context, { msi }) => create(context, msi),
});
