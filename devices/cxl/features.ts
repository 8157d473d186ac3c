import type { DeviceState, StateValue } from '../core/device.js';
import { bytes, each, fields, list } from '../core/saved-state.js';
import { viewOf } from './bytes.js';
import { RETURN_CODE, type ReturnCode } from './return-code.js';

const { SUCCESS, INVALID_INPUT, UNSUPPORTED, INVALID_PAYLOAD_LENGTH } = RETURN_CODE;
const { FEATURE_TRANSFER_IN_PROGRESS } = RETURN_CODE;

/** One feature of the device: what software reads, and the writable part in another layout. */
export interface Feature {
  /** Digits in printed order. */
  readonly uuid: string;
  readonly getSize: number;
  readonly setSize: number;
  /** Writable part before anybody wrote. */
  readonly initial: Uint8Array;
  /** What Get Feature gives, from the writable part. */
  show(writable: Uint8Array): Uint8Array;
  /** The writable part as it is kept. */
  accept(written: Uint8Array): Uint8Array;
}

const ECS_UNITS = 3;
const ECS_CONFIG = 3;

/** Patrol scrub: cycle in hours and enable. CXL 3.1 §8.2.9.9.11.1 */
const PATROL_SCRUB: Feature = {
  uuid: '96dad7d6fde8482ba73375774e06db8a',
  getSize: 4,
  setSize: 2,
  initial: Uint8Array.of(12, 0),
  show: ([cycle = 0, flags = 0]) => Uint8Array.of(3, cycle, 1, flags),
  accept: ([cycle = 0, flags = 0]) => Uint8Array.of(cycle, flags & 1),
};
/** DDR5 error check scrub: log type, then one configuration per unit. §8.2.9.9.11.2 */
const ERROR_CHECK_SCRUB: Feature = {
  uuid: 'e5b13f2223284a14b8bab9691e893386',
  getSize: 1 + 4 * ECS_UNITS,
  setSize: 1 + 2 * ECS_UNITS,
  initial: Uint8Array.of(1, ...Array.from({ length: ECS_UNITS }, () => [ECS_CONFIG, 0]).flat()),
  show: (writable) => {
    const output = new Uint8Array(1 + 4 * ECS_UNITS);
    output[0] = writable[0] ?? 0;
    for (let unit = 0; unit < ECS_UNITS; unit++)
      output.set([1, writable[1 + 2 * unit] ?? 0, writable[2 + 2 * unit] ?? 0, 0], 1 + 4 * unit);
    return output;
  },
  accept: (written) => written.map((byte, i) => (i === 0 ? byte : i % 2 === 1 ? byte & 0x1f : 0)),
};

/** In the order of their indices. */
export const FEATURES: readonly Feature[] = [PATROL_SCRUB, ERROR_CHECK_SCRUB];
const FEATURE_VERSION = 1;

/** How Set Feature transfers its data. CXL 3.1 §8.2.9.6.3 */
const TRANSFER = { FULL: 0, INITIATE: 1, CONTINUE: 2, FINISH: 3, ABORT: 4 } as const;

export interface FeatureWrite {
  readonly uuid: string;
  readonly action: number;
  readonly offset: number;
  readonly version: number;
  readonly data: Uint8Array;
}

/** The features of a device and the one transfer that may be open. reference/cxl.md §5.4 */
export class Features {
  #values: readonly Uint8Array[] = FEATURES.map(({ initial }) => initial);
  #transfer: { readonly uuid: string; readonly data: Uint8Array } | undefined;

  /** Whether parts of this feature's data came and others are to follow. */
  isTransferring(uuid: string): boolean {
    return this.#transfer?.uuid === uuid;
  }

  /** @returns bytes, or why not */
  read(uuid: string, offset: number, count: number): Uint8Array | ReturnCode {
    const index = FEATURES.findIndex((feature) => feature.uuid === uuid);
    const feature = FEATURES[index];
    const value = this.#values[index];
    if (feature === undefined || value === undefined) return UNSUPPORTED;
    if (offset >= feature.getSize) return INVALID_INPUT;
    return feature.show(value).slice(offset, offset + count);
  }

  write(write: FeatureWrite): ReturnCode {
    const { uuid, action, version, offset, data } = write;
    const open = this.#transfer;
    if (open !== undefined && open.uuid !== uuid) return FEATURE_TRANSFER_IN_PROGRESS;
    const index = FEATURES.findIndex((feature) => feature.uuid === uuid);
    const feature = FEATURES[index];
    const value = this.#values[index];
    if (feature === undefined || value === undefined || version !== FEATURE_VERSION)
      return UNSUPPORTED;
    if (action > TRANSFER.ABORT) return INVALID_INPUT;
    if (action === TRANSFER.ABORT) {
      this.#transfer = undefined;
      return SUCCESS;
    }
    if (offset + data.length > feature.setSize) return INVALID_PAYLOAD_LENGTH;
    const follows = action === TRANSFER.CONTINUE || action === TRANSFER.FINISH;
    if (follows !== (open !== undefined))
      return follows ? RETURN_CODE.FEATURE_TRANSFER_OUT_OF_ORDER : FEATURE_TRANSFER_IN_PROGRESS;
    const next = (open?.data ?? value).slice();
    next.set(data, offset);
    if (action === TRANSFER.INITIATE || action === TRANSFER.CONTINUE)
      this.#transfer = { uuid, data: next };
    else {
      this.#transfer = undefined;
      this.#values = this.#values.with(index, feature.accept(next));
    }
    return SUCCESS;
  }

  reset(): void {
    this.#transfer = undefined;
  }
  save(): DeviceState {
    return {
      values: this.#values.map((value) => value.slice()),
      transfer: FEATURES.map(({ uuid }) =>
        this.#transfer?.uuid === uuid ? [this.#transfer.data.slice()] : [],
      ),
    };
  }
  /** Checks a saved state and returns what applies it. @throws QmpError when it does not fit */
  prepareLoad(state: StateValue | undefined): () => void {
    const { values, transfer } = savedFeatures(state, 'saved features');
    const open = FEATURES.flatMap(({ uuid }, i) =>
      (transfer[i] ?? []).map((data) => ({ uuid, data })),
    );
    return () => {
      this.#values = values;
      [this.#transfer] = open;
    };
  }
}

const writableParts = FEATURES.map(({ setSize }) => bytes(setSize));
const savedFeatures = fields({
  values: each(writableParts),
  /** What came of the open transfer, at the index of its feature. */
  transfer: each(writableParts.map((writable) => list(writable, 1))),
});

/** An entry of Get Supported Features. CXL 3.1 §8.2.9.6.1 table 8-94 */
export const describeFeature = (feature: Feature, index: number): Uint8Array => {
  const entry = new Uint8Array(48);
  const view = viewOf(entry);
  entry.set(Buffer.from(feature.uuid, 'hex'));
  view.setUint16(16, index, true);
  view.setUint16(18, feature.getSize, true);
  view.setUint16(20, feature.setSize, true);
  view.setUint32(22, 1, true);
  view.setUint8(26, FEATURE_VERSION);
  view.setUint8(27, FEATURE_VERSION);
  view.setUint16(28, 0x0202, true);
  return entry;
};
