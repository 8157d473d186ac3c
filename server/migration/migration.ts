import { closeSync } from 'node:fs';
import { refused } from '../../schema/error.js';
import type { Infer } from '../../schema/lang.js';
import type { MigrationInfo } from '../../schema/migration.js';
import { GuestGate } from '../machine/guest-gate.js';
import type { Machine } from '../machine/machine.js';
import { MigrationBlockers } from '../machine/migration-blockers.js';
import { MigrationCapabilities } from '../machine/migration-capabilities.js';
import { StoredMigrationParameters } from '../machine/migration-parameters.js';
import { parseAddress } from './address.js';
import { Progress } from './progress.js';
import type { Reception } from './reception.js';
import { checkActive } from './standstill.js';
import type { Outgoing } from './source.js';
import type { Inlet, Opened } from './ways.js';

type Info = Infer<typeof MigrationInfo>;
/** Takes a descriptor that `getfd` named from its monitor. */
export type TakeDescriptor = (name: string) => number | undefined;

/** QEMU's rule: `getfd` refuses such names. */
const isNumber = (name: string): boolean => /^[0-9]/.test(name);

const AWAY = 'the machine waits for a migration: nothing of it can be changed before';

/** Migration of one machine: what goes out, what comes in. What does the work is loaded on use. */
export class Migration {
  readonly gate = new GuestGate();
  readonly blockers = new MigrationBlockers();
  readonly capabilities: MigrationCapabilities;
  readonly parameters = new StoredMigrationParameters();
  readonly #machine: Machine;
  readonly #outgoing: Progress;
  readonly #incoming: Progress;
  #source: Outgoing | undefined;
  /** What came while the source was still being set up. */
  #early: ((source: Outgoing) => void) | undefined;
  #running: Promise<void> | undefined;
  /** Takes the incoming migration off the list of what can be yanked. */
  #unlist: () => void = () => undefined;
  #inlet: Inlet | undefined;
  #isListening = false;
  #reception: Reception | undefined;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.capabilities = new MigrationCapabilities(() => this.isUnderWay);
    const { emit } = machine.options;
    const events = (): boolean => this.capabilities.has('events');
    this.#outgoing = new Progress({ emit, events });
    this.#incoming = new Progress({ emit, events });
  }

  /** Whether devices must stay what they are. */
  get isUnderWay(): boolean {
    return this.#outgoing.isUnderWay || this.isArriving;
  }
  /** Whether a machine is coming in: the source fits, and its memory is on its way. */
  get isArriving(): boolean {
    return this.#incoming.status === 'active';
  }

  /**
   * Starts to send the machine to `uri`.
   *
   * @throws QmpError, in QEMU's order and words where it has them
   */
  start(
    uri: string,
    { resume, disks }: { resume: boolean; disks: boolean },
    take: TakeDescriptor,
  ): void {
    this.#checkStart(resume);
    if (disks) throw refused('Block migration is not supported: the machine has no disks');
    this.capabilities.checkSupported();
    if ((this.parameters.all['tls-creds'] ?? '') !== '')
      throw refused("Parameter 'tls-creds' is set, and migration with TLS is not supported");
    this.#source = undefined;
    this.#early = undefined;
    this.#outgoing.become('setup');
    const unlist = this.#list(() => this.#source?.cut());
    try {
      const address = this.#open(uri, take, "Parameter 'uri' expects a valid migration protocol");
      this.#running = this.#send(address).finally(unlist);
    } catch (error) {
      unlist();
      this.#outgoing.become('failed', error instanceof Error ? error.message : undefined);
      throw error;
    }
  }
  #checkStart(resume: boolean): void {
    const { status } = this.#machine.runState;
    if (resume) throw refused('Cannot resume if there is no paused migration');
    if (this.#outgoing.isUnderWay) throw refused("There's a migration process in progress");
    if (status === 'inmigrate') throw refused('Guest is waiting for an incoming migration');
    if (status === 'postmigrate')
      throw refused("Can't migrate the vm that was paused due to previous migration");
    const [blocker] = this.blockers.reasons;
    if (blocker !== undefined) throw refused(blocker);
    checkActive(this.#machine);
  }
  /** Never rejects: what fails is told by the status, also that the code could not be loaded. */
  async #send(address: Opened): Promise<void> {
    try {
      const { Outgoing } = await import('./source.js');
      const { openOutlet } = await import('./ways.js');
      const source = new Outgoing({
        machine: this.#machine,
        progress: this.#outgoing,
        open: (signal) => openOutlet(address, this.#machine.options.loadNative, signal),
      });
      this.#source = source;
      this.#early?.(source);
      await source.run();
    } catch (error) {
      // Nobody has taken it over.
      if (address.kind === 'fd') closeSync(address.fd);
      this.#outgoing.become('failed', error instanceof Error ? error.message : String(error));
    }
  }

  /** @throws QmpError when the machine has left already */
  cancel(): void {
    if (!this.#outgoing.isUnderWay) return;
    if (this.#source === undefined) this.#early = (source) => source.cancel();
    else this.#source.cancel();
  }
  /** `migrate-continue`. @throws QmpError unless the migration waits in that status */
  proceed(state: NonNullable<Info['status']>): void {
    const { status } = this.#outgoing;
    if (state !== status || status !== 'pre-switchover')
      throw refused(`Migration not in expected state: ${status}`);
    this.#source?.proceed();
  }

  /** The answer of `query-migrate`. */
  info(): Info {
    const { reasons } = this.blockers;
    const { status } = this.#outgoing;
    const counted = ['active', 'pre-switchover', 'device', 'cancelling', 'completed'];
    const counts = counted.includes(status) ? this.#source?.counts : undefined;
    return {
      // As QEMU: an incoming migration that nobody has begun yet has no status.
      ...(this.#incoming.status === 'setup' ? {} : this.#incoming.info()),
      ...this.#outgoing.info(),
      ...counts?.info(status === 'completed'),
      ...(reasons.length > 0 ? { 'blocked-reasons': reasons } : {}),
      ...(this.#inlet?.address === undefined ? {} : { 'socket-address': [this.#inlet.address] }),
    };
  }

  /** `-incoming`: waits. @throws QmpError when it cannot listen there */
  async await(uri: string): Promise<void> {
    this.gate.refuse(AWAY);
    if (uri !== 'defer') await this.listen(uri, undefined);
  }
  /**
   * `migrate-incoming`.
   *
   * @param take undefined without a monitor: then descriptors have numbers only
   * @throws QmpError when the machine waits for none, or cannot listen there
   */
  async listen(uri: string, take: TakeDescriptor | undefined): Promise<void> {
    if (this.#isListening) throw refused('The incoming migration has already been started');
    if (this.#machine.runState.status !== 'inmigrate')
      throw refused(
        this.#incoming.status === 'completed'
          ? 'The incoming migration has already been started'
          : "'-incoming' was not specified on the command line",
      );
    this.#isListening = true;
    this.#incoming.become('setup');
    this.#unlist = this.#list(() => this.#reception?.cut());
    try {
      const { openInlet } = await import('./ways.js');
      const { Reception } = await import('./reception.js');
      const address = this.#open(uri, take, `unknown migration protocol: ${uri}`);
      const reception = new Reception({
        machine: this.#machine,
        progress: this.#incoming,
        onEnd: (isHere) => this.#received(isHere),
      });
      this.#reception = reception;
      const isOnly = address.kind === 'file' || address.kind === 'fd';
      const inlet = await openInlet(address, this.#machine.options.loadNative, (input) =>
        reception.receive(input, isOnly),
      );
      // A connection may have come and failed before.
      if (this.#isListening) this.#inlet = inlet;
      else inlet.close();
    } catch (error) {
      this.#isListening = false;
      this.#reception = undefined;
      this.#unlist();
      this.#incoming.clear();
      throw refused(error instanceof Error ? error.message : String(error), error);
    }
  }
  #received(isHere: boolean): void {
    this.#reception = undefined;
    this.#isListening = false;
    this.#unlist();
    this.#inlet?.close();
    this.#inlet = undefined;
    if (isHere) this.gate.open();
    else this.gate.refuse(AWAY);
  }

  /** As QEMU: a migration can be yanked from its command on, but is cut only once it is connected. */
  #list(cut: () => void): () => void {
    return this.#machine.options.yanks.add({ type: 'migration' }, cut);
  }
  #open(uri: string, take: TakeDescriptor | undefined, unknown: string): Opened {
    const address = parseAddress(uri);
    if (address === undefined) throw refused(unknown);
    if (address.kind !== 'fd') return address;
    const { name } = address;
    if (take === undefined || isNumber(name))
      return { kind: 'fd', fd: this.#machine.options.inherited.take(name) };
    const fd = take(name);
    if (fd === undefined) throw refused(`File descriptor named '${name}' has not been found`);
    return { kind: 'fd', fd };
  }

  /** The machine ends: nothing is under way afterwards. Safe to call twice. */
  async close(): Promise<void> {
    this.#inlet?.close();
    const givenBack = this.#reception?.abandon('The machine ended');
    this.#early = (source) => source.quit();
    if (this.#outgoing.isUnderWay) this.#source?.quit();
    await this.#running;
    await givenBack;
  }
}
