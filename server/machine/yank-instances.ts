import { QmpError } from '../../schema/error.js';
import type { YankInstance } from '../../schema/control.js';
import type { Infer } from '../../schema/lang.js';

type Instance = Infer<typeof YankInstance>;

/** What names an instance: its type, and its id where there may be several. */
const keyOf = ({ type, ...named }: Instance): string => [type, ...Object.values(named)].join(' ');

/** What has connections that somebody may cut from outside (`yank`), in order of its coming. */
export class YankInstances {
  readonly #entries = new Map<string, { readonly instance: Instance; readonly cut: () => void }>();

  /**
   * @param cut ends the connections that there are, as if the peer had gone; waits for nothing
   * @returns takes it off the list again
   */
  add(instance: Instance, cut: () => void): () => void {
    const key = keyOf(instance);
    this.#entries.set(key, { instance, cut });
    return () => void this.#entries.delete(key);
  }

  list(): Instance[] {
    return [...this.#entries.values()].map(({ instance }) => instance);
  }

  /** @throws QmpError of class DeviceNotFound when one is not there; nothing is cut then */
  cut(instances: readonly Instance[]): void {
    const found = instances.map((instance) => this.#find(instance));
    for (const cut of found) cut();
  }

  #find(instance: Instance): () => void {
    const entry = this.#entries.get(keyOf(instance));
    if (entry === undefined) throw new QmpError('DeviceNotFound', 'Instance not found');
    return entry.cut;
  }
}
