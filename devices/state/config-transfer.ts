import { QmpError } from '../../schema/error.js';
import type { StateImage } from '../core/device.js';
import { readContainer, writeContainer } from './container.js';
import { StateError, tooBig } from './errno.js';

/** Snapshots of the configuration of one device, and its load: always as a whole. */
export class ConfigTransfer {
  readonly #image: StateImage;
  /** Announced length; undefined when no load is under way. */
  #announced: number | undefined;

  constructor(image: StateImage) {
    this.#image = image;
  }

  get loading(): boolean {
    return this.#announced !== undefined;
  }
  /**
   * A container with the configuration as it is now.
   *
   * @param logging whether the device is in LOGGING
   */
  snapshot(logging: boolean): Uint8Array {
    const image = this.#image.save();
    return writeContainer(
      { kind: 'config', capacity: image.length, logging, pass: 0 },
      [{ offset: 0, length: image.length }],
      (_, into) => into.set(image),
    );
  }
  /** Bytes that were announced; undefined when no load is under way. */
  get announced(): number | undefined {
    return this.#announced;
  }
  /**
   * Announces what will be loaded; 0 abandons the load.
   *
   * @throws StateError EFBIG when it is longer than `room`
   */
  announce(size: bigint, room: number): void {
    if (size > BigInt(room)) throw tooBig('configuration', size, BigInt(room));
    this.#announced = size === 0n ? undefined : Number(size);
  }
  abandon(): void {
    this.#announced = undefined;
  }
  /**
   * Loads the announced bytes from the beginning of `region`.
   *
   * @throws StateError EINVAL when nothing was announced, or the data is refused
   */
  load(region: Uint8Array): void {
    if (this.#announced === undefined)
      throw new StateError('EINVAL', 'no length of the configuration was set');
    const bytes = region.subarray(0, this.#announced);
    const [record, ...others] = readContainer(bytes, 'config', this.#image.capacity);
    if (record?.offset !== 0 || others.length > 0)
      throw new StateError('EINVAL', 'configuration is not one record from offset 0 on');
    this.#loadImage(record.data);
    this.#announced = undefined;
  }
  #loadImage(image: Uint8Array): void {
    try {
      this.#image.load(image);
    } catch (error) {
      if (error instanceof QmpError) throw new StateError('EINVAL', error.message);
      throw error;
    }
  }
}
