import { refused } from '../../schema/error.js';
import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import { fields, map, part } from '../core/saved-state.js';
import { Cci } from '../cxl/cci.js';
import {
  abortCommand,
  backgroundStatusCommand,
  identifyCommand,
} from '../cxl/commands/information.js';
import { logCommands } from '../cxl/commands/logs.js';
import { physicalSwitchCommands } from '../cxl/commands/physical-switch.js';
import { timestampCommands } from '../cxl/commands/timestamp.js';
import { FM_OWNED_LD, tunnelCommand } from '../cxl/commands/tunnel.js';
import { DeviceRegisters } from '../cxl/device-registers.js';
import { DeviceTime } from '../cxl/device-time.js';
import { addRegisterLocator } from '../cxl/dvsecs.js';
import { MAILBOX_PAYLOAD_SIZE } from '../cxl/mailbox.js';
import { CXL_SWITCH, findPort, type CxlSwitch } from '../cxl/ports.js';
import { addPcieCapability } from '../pci/capabilities.js';
import { PciFunction, type PciDevice } from '../pci/function.js';
import { EXTENDED_CAPABILITY, PORT_TYPE } from '../pci/registers.js';

/** reference/cxl.md §1.4, §2.2 */
const IDENTITY = {
  ...{ vendorId: 0x19e5, deviceId: 0xa123, revision: 0, classCode: 0x0c0b, express: true },
} as const;
const EXPRESS_AT = 0x80;
const BAR = 0;

/** Serial number of a function's capability, 0 without one. */
const serialOf = ({ config }: PciFunction): bigint => {
  const at = config.findExtendedCapability(EXTENDED_CAPABILITY.SERIAL_NUMBER);
  return at === undefined ? 0n : config.get64(at + 4);
};

/**
 * The mailbox by which software on the host reaches a switch and, by tunnel, the memory devices
 * behind its ports: the fabric manager's way in.
 *
 * @see reference/cxl.md §5.8
 */
export class SwitchMailboxCci implements PciDevice {
  readonly pci: PciFunction;
  readonly #target: PciDevice | undefined;
  readonly #cci: Cci;
  readonly #time: DeviceTime;
  readonly #registers: DeviceRegisters;

  constructor(context: DeviceContext, target: PciDevice | undefined) {
    this.#target = target;
    this.pci = new PciFunction({
      typeName: context.typeName,
      id: context.id,
      identity: IDENTITY,
      log: context.log,
      activity: context.activity,
      resetDevice: (type) => this.reset(type),
    });
    this.#cci = new Cci({ clock: context.clock, payloadSize: MAILBOX_PAYLOAD_SIZE });
    this.#time = new DeviceTime(context.clock);
    this.#registers = new DeviceRegisters({
      name: 'cxl-switch-mailbox-registers',
      cci: this.#cci,
      eventStatus: () => 0n,
    });
  }

  /** @throws QmpError without a switch to control */
  realize(): void {
    const found = this.#target?.pci.offers.get(CXL_SWITCH);
    if (found === undefined) throw refused('Target not set');
    addPcieCapability(this.pci, { type: PORT_TYPE.ENDPOINT, at: EXPRESS_AT });
    addRegisterLocator(this.pci, [{ bar: BAR, kind: 'device' }]);
    this.pci.registerBar(BAR, this.#registers.region, { type: 'memory', bits64: true });
    this.#addCommands(found);
  }

  #addCommands(target: CxlSwitch): void {
    const cci = this.#cci;
    const { vendorId, deviceId } = target.pci.identity;
    const identity = () => ({
      ...{ vendorId, deviceId, subsystemVendorId: 0, subsystemId: 0 },
      serial: serialOf(target.pci),
      type: 'switch' as const,
    });
    cci.add([identifyCommand(cci, identity), backgroundStatusCommand(cci), abortCommand(cci)]);
    cci.add([...timestampCommands(this.#time), ...logCommands(cci)]);
    cci.add(physicalSwitchCommands(cci, target));
    cci.add([
      tunnelCommand((number) =>
        findPort(target.bus, number)?.bus.function(0)?.offers.get(FM_OWNED_LD),
      ),
    ]);
  }

  unrealize(): void {
    this.#cci.reset();
    this.pci.close();
  }
  reset(_type: ResetType): void {
    this.pci.reset();
    this.#registers.reset();
    this.#cci.reset();
  }
  save(): DeviceState {
    return {
      pci: this.pci.save(),
      registers: this.#registers.save(),
      cci: this.#cci.save(),
      time: this.#time.save(),
    };
  }
  load(saved: DeviceState): void {
    const { pci, registers, cci, time } = savedSwitchMailbox(saved, `saved ${this.pci.typeName}`);
    const apply = [
      this.pci.prepareLoad(pci),
      this.#registers.prepareLoad(registers),
      this.#cci.prepareLoad(cci),
      this.#time.prepareLoad(time),
    ];
    for (const run of apply) run();
  }
}

const savedSwitchMailbox = fields({ pci: map, registers: part, cci: part, time: part });
