/** Names something that functions offer each other, and its type. */
export class Offer<T> {
  readonly name: string;
  /** Keeps offers of different types apart; never set. */
  declare readonly type: T;

  constructor(name: string) {
    this.name = name;
  }
}

/** What one function offers to those that meet it on a bus, beyond configuration space and BARs. */
export class Offers {
  readonly #offers = new Map<Offer<unknown>, unknown>();

  set<T>(offer: Offer<T>, value: T): void {
    this.#offers.set(offer, value);
  }
  get<T>(offer: Offer<T>): T | undefined {
    return this.#offers.get(offer) as T | undefined;
  }
}
