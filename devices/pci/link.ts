import { choice } from '../core/property.js';

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
