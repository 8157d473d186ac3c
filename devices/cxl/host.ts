import { refused } from '../../schema/error.js';
import { MemoryRegion } from '../core/memory-region.js';
import { frontWhileStopped } from '../core/stop-front.js';
import { CAPACITY_UNIT } from './addresses.js';
import type { CxlHostBridge } from './routing.js';
import type { FixedWindowConfig } from './window-config.js';
import { FixedWindow } from './windows.js';

/** `cxl=on` and the fixed memory windows of a machine. */
export interface CxlConfig {
  readonly windows: readonly FixedWindowConfig[];
}

/** Room for the component registers of host bridges. */
const HOST_REGISTERS_SIZE = 1n << 20n;
const BRIDGE_REGISTERS_SIZE = 0x1_0000n;
const MOST_BRIDGES = Number(HOST_REGISTERS_SIZE / BRIDGE_REGISTERS_SIZE);

/**
 * What a machine has of CXL: host bridges, their registers, and the windows that lead to memory.
 *
 * @see reference/cxl.md §1.3
 */
export class CxlHost {
  readonly enabled: boolean;
  readonly windows: readonly FixedWindow[];
  /** In the order in which they came. */
  readonly #bridges: CxlHostBridge[] = [];
  /** For bridges whose registers are mapped: ends their fronts. */
  readonly #endFronts = new Map<CxlHostBridge, () => void>();
  readonly #registers = MemoryRegion.container('cxl_host_reg', HOST_REGISTERS_SIZE);

  /** @param end host physical address behind everything else */
  constructor(system: MemoryRegion, config: CxlConfig | undefined, end: bigint) {
    this.enabled = config !== undefined;
    const windows: FixedWindow[] = [];
    const above = end + HOST_REGISTERS_SIZE;
    let base = ((above + CAPACITY_UNIT - 1n) / CAPACITY_UNIT) * CAPACITY_UNIT;
    for (const window of config?.windows ?? []) {
      windows.push(new FixedWindow(window, base));
      base += window.size;
    }
    this.windows = windows;
    if (!this.enabled) return;
    system.add(this.#registers, end);
    for (const window of windows) system.add(window.region, window.base);
  }

  /** @throws QmpError when there is no room for its registers */
  addBridge(bridge: CxlHostBridge): void {
    if (this.enabled && this.#bridges.length >= MOST_BRIDGES)
      throw refused('Insufficient space for pxb cxl host register space');
    this.#bridges.push(bridge);
  }
  removeBridge(bridge: CxlHostBridge): void {
    const at = this.#bridges.indexOf(bridge);
    if (at >= 0) this.#bridges.splice(at, 1);
    this.#endFronts.get(bridge)?.();
    this.#endFronts.delete(bridge);
    this.#registers.remove(bridge.component.region);
  }

  /**
   * All host bridges are there: maps their registers, newest first, and connects the windows.
   *
   * @throws QmpError when the machine has no CXL, or a window names no host bridge
   */
  ready(): void {
    if (!this.enabled && this.#bridges.length > 0)
      throw refused('CXL host bridges present, but cxl=off');
    const connections = this.windows.map(({ config }) =>
      config.targets.map((target) => this.#find(target)),
    );
    for (const [i, bridge] of this.#bridges.toReversed().entries()) {
      const { activity, component } = bridge;
      this.#registers.add(component.region, BigInt(i) * BRIDGE_REGISTERS_SIZE);
      const end = frontWhileStopped(this.#registers, component.region, activity);
      this.#endFronts.set(bridge, end);
    }
    for (const [i, window] of this.windows.entries()) window.connect(connections[i] ?? []);
  }

  /** By id or by path, whole or its end. */
  #find(target: string): CxlHostBridge {
    const bridge = this.#bridges.find(({ path }) => path === target || path.endsWith(`/${target}`));
    if (bridge === undefined) throw refused(`Could not resolve CXLFM target ${target}`);
    return bridge;
  }
}
