import { choice } from '../core/property.js';
import { EXPRESS } from './capabilities.js';
import type { PciFunction } from './function.js';

/** Speed codes of the link registers. PCIe 5.0 §7.5.3.6. */
export const LINK_SPEED = { '2_5': 1, '5': 2, '8': 3, '16': 4, '32': 5, '64': 6 } as const;
export type LinkSpeed = keyof typeof LINK_SPEED;
const WIDTHS = ['1', '2', '4', '8', '12', '16', '32'] as const;
export type LinkWidth = (typeof WIDTHS)[number];

/** Properties of what has a link. */
export const linkProperties = <S extends LinkSpeed, W extends LinkWidth>(speed: S, width: W) =>
  ({
    'x-speed': choice('PCIELinkSpeed', ['2_5', '5', '8', '16', '32', '64'], speed, 'GT/s'),
    'x-width': choice('PCIELinkWidth', WIDTHS, width, 'lanes'),
  }) as const;

/** Speed code and number of lanes of link properties. */
export const linkOf = (properties: {
  readonly 'x-speed': LinkSpeed;
  readonly 'x-width': LinkWidth;
}): { readonly speed: number; readonly width: number } => ({
  speed: LINK_SPEED[properties['x-speed']],
  width: Number(properties['x-width']),
});

/** Link capabilities. PCIe 5.0 §7.5.3.6. */
const BANDWIDTH_NOTIFICATION = 0x20_0000;
const LINK_REPORTING = 0x30_0000;

/**
 * As QEMU: slow links neither report nor list what faster ones must.
 *
 * @param capability offset of the port's PCI Express capability
 */
export const limitLink = (
  fn: PciFunction,
  capability: number,
  { speed, width }: { readonly speed: number; readonly width: number },
): void => {
  const { config } = fn;
  if (speed <= LINK_SPEED['5']) config.set(capability + EXPRESS.LINK_CAPABILITIES_2, 4, 0);
  if (speed > LINK_SPEED['2_5']) return;
  config.set(capability + EXPRESS.LINK_CONTROL_2, 2, 0);
  const at = capability + EXPRESS.LINK_CAPABILITIES;
  const kept = ~LINK_REPORTING | (width > 1 ? BANDWIDTH_NOTIFICATION : 0);
  config.set(at, 4, config.get(at, 4) & kept);
};
