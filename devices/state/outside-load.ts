/**
 * A load of a device that comes another way than by its regions, as from a file: while it lasts
 * nothing else is loaded, and a device that is loaded in part does not run. Nor is anything loaded
 * while the device is saved to a file.
 */
export class OutsideLoad {
  #running = false;
  #saving = false;
  #half = false;

  /** A load is under way. */
  get running(): boolean {
    return this.#running;
  }
  /** The device is being saved. */
  get saving(): boolean {
    return this.#saving;
  }
  /** The device is loaded in part. */
  get half(): boolean {
    return this.#half;
  }

  beginSave(): void {
    this.#saving = true;
  }
  endSave(): void {
    this.#saving = false;
  }
  begin(): void {
    this.#running = true;
  }
  /** The device changes from here on. */
  changing(): void {
    this.#half = true;
  }
  /** All of it is loaded, or the device was reset. */
  settle(): void {
    this.#half = false;
  }
  /** No load is under way any more, however it went. */
  end(): void {
    this.#running = false;
  }
}
