import type { DeviceState, StateValue } from '../core/device.js';
import { fields, integer, unsigned, type Reader } from '../core/saved-state.js';
import { COMMON, FEATURE, NO_VECTOR, STATUS } from './registers.js';

interface State {
  deviceFeatureSelect: number;
  driverFeatureSelect: number;
  driverFeatures: bigint;
  configVector: number;
  queueSelect: number;
  status: number;
}
const initial = (): State => ({
  deviceFeatureSelect: 0,
  driverFeatureSelect: 0,
  driverFeatures: 0n,
  configVector: NO_VECTOR,
  queueSelect: 0,
  status: 0,
});

const DWORD = 0xffff_ffffn;
const LAST_QUEUE = 1023;

const savedTransport: Reader<State> = fields({
  deviceFeatureSelect: integer(0xffff_ffff),
  driverFeatureSelect: integer(0xffff_ffff),
  driverFeatures: unsigned(),
  configVector: integer(NO_VECTOR),
  queueSelect: integer(LAST_QUEUE),
  status: integer(0xff),
});

/**
 * The state of a virtio device without queues: features, status, vector. It never has a reason to
 * interrupt, as its configuration does not change.
 *
 * @see Virtio 1.2 §2.1, §2.2, §3.1, §4.1.4.3
 */
export class Transport {
  /** Features that the device offers. */
  readonly offered: bigint;
  readonly #vectors: number;
  #state = initial();

  constructor(options: { readonly offered: bigint; readonly vectors: number }) {
    this.offered = options.offered;
    this.#vectors = options.vectors;
  }

  get status(): number {
    return this.#state.status;
  }
  get driverFeatures(): bigint {
    return this.#state.driverFeatures;
  }
  get configVector(): number {
    return this.#state.configVector;
  }

  reset(): void {
    this.#state = initial();
  }

  /** A status of 0 resets; FEATURES_OK stays off when the driver's features cannot be. */
  setStatus(value: number): void {
    if (value === 0) {
      this.reset();
      return;
    }
    const was = this.#state.status & STATUS.FEATURES_OK;
    const refusedNow = was === 0 && (value & STATUS.FEATURES_OK) !== 0 && !this.#acceptable;
    this.#state.status = refusedNow ? value & ~STATUS.FEATURES_OK : value;
  }

  get #acceptable(): boolean {
    const { driverFeatures } = this.#state;
    return (driverFeatures & ~this.offered) === 0n && (driverFeatures & FEATURE.VERSION_1) !== 0n;
  }

  /** Sets 32 bits of the driver's features; they are fixed once FEATURES_OK is set. */
  setDriverFeatures(word: number, value: bigint): void {
    if ((this.#state.status & STATUS.FEATURES_OK) !== 0 || word > 1) return;
    const shift = BigInt(32 * word);
    this.#state.driverFeatures =
      (this.#state.driverFeatures & ~(DWORD << shift)) | ((value & DWORD) << shift);
  }

  setConfigVector(value: number): void {
    this.#state.configVector = value < this.#vectors ? value : NO_VECTOR;
  }

  /** A read of the common configuration; registers of queues show that there is none. */
  read(offset: number): bigint {
    const state = this.#state;
    const word = (features: bigint, select: number): bigint =>
      select > 1 ? 0n : (features >> BigInt(32 * select)) & DWORD;
    switch (offset) {
      case COMMON.DEVICE_FEATURE_SELECT:
        return BigInt(state.deviceFeatureSelect);
      case COMMON.DEVICE_FEATURE:
        return word(this.offered, state.deviceFeatureSelect);
      case COMMON.DRIVER_FEATURE_SELECT:
        return BigInt(state.driverFeatureSelect);
      case COMMON.DRIVER_FEATURE:
        return word(state.driverFeatures, state.driverFeatureSelect);
      case COMMON.CONFIG_MSIX_VECTOR:
        return BigInt(state.configVector);
      case COMMON.DEVICE_STATUS:
        return BigInt(state.status);
      case COMMON.QUEUE_SELECT:
        return BigInt(state.queueSelect);
      case COMMON.QUEUE_MSIX_VECTOR:
        return BigInt(NO_VECTOR);
      default:
        return 0n;
    }
  }

  write(offset: number, value: bigint): void {
    const state = this.#state;
    if (offset === COMMON.DEVICE_FEATURE_SELECT) state.deviceFeatureSelect = Number(value);
    else if (offset === COMMON.DRIVER_FEATURE_SELECT) state.driverFeatureSelect = Number(value);
    else if (offset === COMMON.DRIVER_FEATURE)
      this.setDriverFeatures(state.driverFeatureSelect, value);
    else if (offset === COMMON.CONFIG_MSIX_VECTOR) this.setConfigVector(Number(value & 0xffffn));
    else if (offset === COMMON.DEVICE_STATUS) this.setStatus(Number(value & 0xffn));
    // As QEMU: selects beyond the most queues that a device can have are ignored.
    else if (offset === COMMON.QUEUE_SELECT && value <= LAST_QUEUE)
      state.queueSelect = Number(value);
  }

  save(): DeviceState {
    return { ...this.#state };
  }

  /**
   * Checks a saved state.
   *
   * @returns what applies it
   * @throws QmpError when it does not fit
   */
  prepareLoad(saved: StateValue): () => void {
    const state = savedTransport(saved, 'saved transport');
    return () => {
      this.#state = state;
    };
  }
}
