import type { DeviceContext, DeviceState, ResetType } from '../core/device.js';
import type { PropertyValues } from '../core/property.js';
import { ComponentRegisters } from '../cxl/component-registers.js';
import { countPorts } from '../cxl/ports.js';
import type { CxlHostBridge } from '../cxl/routing.js';
import { Expander } from '../pci/expander.js';
import type { PciDevice, PciFunction } from '../pci/function.js';
import type { pxbCxlProperties } from './properties.js';

/**
 * A CXL host bridge: an expander whose root bus takes CXL root ports, and component registers in
 * the platform's range.
 *
 * @see reference/cxl.md §1.2, §3.2
 */
export class PxbCxl implements PciDevice {
  readonly component: ComponentRegisters;
  readonly #expander: Expander;
  readonly #context: DeviceContext;
  readonly #properties: PropertyValues<typeof pxbCxlProperties>;
  #bridge: CxlHostBridge | undefined;

  constructor(context: DeviceContext, properties: PropertyValues<typeof pxbCxlProperties>) {
    this.#context = context;
    this.#properties = properties;
    this.#expander = new Expander('pxb-cxl', context, properties);
    this.component = new ComponentRegisters({
      kind: 'host-bridge',
      passThrough: () => this.passThrough,
    });
    this.pci.addPart('component-registers', this.component);
  }

  get pci(): PciFunction {
    return this.#expander.pci;
  }
  /** With a single port there is nothing to decide: no decoders, unless they are asked for. */
  get passThrough(): boolean {
    const { rootBus } = this.#expander;
    if (rootBus === undefined || this.#properties.hdm_for_passthrough) return false;
    return countPorts(rootBus) === 1;
  }

  realize(): void {
    this.#expander.realize();
    try {
      this.#bridge = this.#announce();
    } catch (error) {
      this.#expander.unrealize();
      throw error;
    }
  }

  #announce(): CxlHostBridge | undefined {
    const { rootBus } = this.#expander;
    if (rootBus === undefined) return undefined;
    const passThrough = (): boolean => this.passThrough;
    const bridge: CxlHostBridge = {
      path: this.#context.path,
      component: this.component,
      activity: this.#context.activity,
      bus: rootBus,
      get passThrough() {
        return passThrough();
      },
    };
    this.#context.platform?.cxl.addBridge(bridge);
    return bridge;
  }

  unrealize(): void {
    if (this.#bridge !== undefined) this.#context.platform?.cxl.removeBridge(this.#bridge);
    this.#bridge = undefined;
    this.#expander.unrealize();
  }
  reset(type: ResetType): void {
    this.#expander.reset(type);
  }
  save(): DeviceState {
    return this.#expander.save();
  }
  load(state: DeviceState): void {
    this.#expander.load(state);
  }
}
