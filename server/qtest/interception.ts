import { Interrupts, INTERRUPT_INPUTS } from '../../devices/platform/interrupts.js';
import { resolvePath, type QomObject } from '../machine/qom.js';
import type { TypeRegistry } from '../machine/type-registry.js';
import type { Command } from './accesses.js';
import { BadRequest, quoted, type Words } from './words.js';

export interface InterceptionOptions {
  readonly root: QomObject;
  readonly types: TypeRegistry;
  /** The machine's own inputs of the interrupt controller. */
  readonly interrupts: Interrupts;
  /** An intercepted line changed. */
  readonly onChange: (line: number, level: boolean) => void;
}

/** The name by which a client means pins that have none. */
const UNNAMED = 'unnamed-gpio-in';
/** The bridge of q35 drives the inputs of the interrupt controller by its outputs of this name. */
const LINES_OUT = { type: 'ICH9-LPC', name: 'gsi' } as const;

/**
 * Interrupt lines that one client watches. They go on to where they went; a line that is up when
 * the watch begins is told when it goes up again.
 *
 * @see reference/pci-and-memory-devices.md §10.2
 */
export class Interception {
  readonly #options: InterceptionOptions;
  readonly #told = new Array<boolean>(INTERRUPT_INPUTS).fill(false);
  #device: QomObject | undefined;
  #release: (() => void) | undefined;

  constructor(options: InterceptionOptions) {
    this.#options = options;
  }

  commands(): [string, Command][] {
    return [
      ['irq_intercept_in', (words) => this.#interceptInputs(words)],
      ['irq_intercept_out', (words) => this.#interceptOutputs(words)],
      ['set_irq_in', (words) => this.#drive(words)],
    ];
  }

  /** The client is gone. Safe to call twice. */
  close(): void {
    this.#release?.();
    this.#release = undefined;
  }

  #find(words: Words): QomObject {
    words.require(1, 'path');
    const { root, types } = this.#options;
    const found = resolvePath(root, words.text(1));
    if (found.kind !== 'found' || !types.isA(found.object.typeName, 'device'))
      throw new BadRequest('Unknown device');
    return found.object;
  }

  #interceptInputs(words: Words): string {
    const device = this.#find(words);
    if (words.has(2)) throw new BadRequest('Interception of named in-GPIOs not yet supported');
    if (this.#isWatched(device)) return 'OK';
    return this.#watch(device, device.instance instanceof Interrupts ? device.instance : undefined);
  }

  #interceptOutputs(words: Words): string {
    const device = this.#find(words);
    if (this.#isWatched(device)) return 'OK';
    if (device.typeName !== LINES_OUT.type || !words.has(2) || words.text(2) !== LINES_OUT.name)
      throw new BadRequest('No intercepts installed');
    return this.#watch(device, this.#options.interrupts);
  }

  /** Only one device is watched at a time. @throws BadRequest when it is another one */
  #isWatched(device: QomObject): boolean {
    if (this.#device !== undefined && this.#device !== device)
      throw new BadRequest('IRQ intercept already enabled');
    return this.#device === device;
  }

  #watch(device: QomObject, lines: Interrupts | undefined): string {
    this.#device = device;
    this.#release = lines?.onChange((line, level) => {
      if (this.#told[line] === level) return;
      this.#told[line] = level;
      this.#options.onChange(line, level);
    });
    return 'OK';
  }

  #drive(words: Words): string {
    const device = this.#find(words);
    words.require(2, 'name');
    const line = words.signed(3, 'number');
    const level = words.signed(4, 'level');
    const { instance } = device;
    const isLine = line >= 0n && line < BigInt(INTERRUPT_INPUTS);
    if (!(instance instanceof Interrupts) || words.text(2) !== UNNAMED || !isLine)
      throw new BadRequest(
        `set_irq_in: ${device.path} has no input ${quoted(words.bytes(2))} ${String(line)}`,
      );
    instance.set(Number(line), level !== 0n);
    return 'OK';
  }
}
