/** Host physical address: what a host reads and writes; in a window it leads to a device. */
export type Hpa = bigint & { readonly space: 'HPA' };
/** Device physical address: bytes from the start of a device's capacity. */
export type Dpa = bigint & { readonly space: 'DPA' };

export const hpa = (address: bigint): Hpa => address as Hpa;
export const dpa = (address: bigint): Dpa => address as Dpa;

/** Unit of windows, decoders, regions and capacities. CXL 3.1 §8.2.4.20. */
export const CAPACITY_UNIT = 256n << 20n;
