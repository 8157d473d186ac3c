import type { Clock } from '../core/clock.js';
import type { DeviceState, Log, StateValue } from '../core/device.js';
import { bytes, fields, unsigned } from '../core/saved-state.js';
import type { Dma } from '../pci/function.js';
import { BUFFER, DMA, DMA_MS } from './registers.js';

const NS_PER_MS = 1_000_000n;

export type DmaRegister = 'source' | 'destination' | 'count' | 'command';

export interface DmaEngineOptions {
  readonly clock: Clock;
  readonly dma: Dma;
  readonly log: Log;
  /** Address bits that the engine can drive. */
  readonly mask: bigint;
  /** A transfer that asked for it is done. */
  readonly onDone: () => void;
}

/**
 * Moves bytes between guest memory and a buffer of 4 KiB, 100 ms of the machine's clock after it
 * was told to. Its registers do not change meanwhile.
 */
export class DmaEngine {
  readonly #options: DmaEngineOptions;
  readonly #buffer = new Uint8Array(Number(BUFFER.size));
  #registers: Record<DmaRegister, bigint> = noTransfer();
  #deadline = 0n;
  #cancel: (() => void) | undefined;

  constructor(options: DmaEngineOptions) {
    this.#options = options;
  }

  get #running(): boolean {
    return (this.#registers.command & DMA.RUN) !== 0n;
  }

  read(name: DmaRegister): bigint {
    return this.#registers[name];
  }

  /** Dropped while a transfer runs; a command without RUN is no command. */
  write(name: DmaRegister, value: bigint): void {
    if (this.#running) return;
    if (name === 'command' && (value & DMA.RUN) === 0n) return;
    this.#registers[name] = value;
    // As QEMU: counted from the last whole millisecond.
    if (name === 'command')
      this.#schedule((this.#options.clock.now() / NS_PER_MS + DMA_MS) * NS_PER_MS);
  }

  /** Gives the timer back. */
  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #schedule(deadline: bigint): void {
    this.close();
    this.#deadline = deadline;
    this.#cancel = this.#options.clock.at(deadline, () => this.#transfer());
  }

  #transfer(): void {
    this.#cancel = undefined;
    const { command, source, destination, count } = this.#registers;
    const { dma } = this.#options;
    const out = (command & DMA.TO_MEMORY) !== 0n;
    const piece = this.#piece(out ? source : destination, count);
    if (piece !== undefined) {
      if (out) dma.write(this.#masked(destination), piece);
      else dma.read(this.#masked(source), piece);
    }
    this.#registers.command &= ~DMA.RUN;
    if ((command & DMA.INTERRUPT) !== 0n) this.#options.onDone();
  }

  /** The bytes of the buffer at an address of DMA; undefined when some of them are outside. */
  #piece(address: bigint, count: bigint): Uint8Array | undefined {
    const start = address - BUFFER.base;
    if (start >= 0n && start + count <= BUFFER.size)
      return this.#buffer.subarray(Number(start), Number(start + count));
    this.#options.log.warn({ address, count }, 'DMA range is outside the buffer');
    return undefined;
  }

  #masked(address: bigint): bigint {
    const { mask, log } = this.#options;
    if ((address & mask) !== address) log.warn({ address, mask }, 'DMA address is cut to the mask');
    return address & mask;
  }

  save(): DeviceState {
    const left = this.#deadline - this.#options.clock.now();
    return {
      ...this.#registers,
      buffer: this.#buffer.slice(),
      left: this.#running && left > 0n ? left : 0n,
    };
  }

  /**
   * Checks a saved state.
   *
   * @returns what applies it
   * @throws QmpError when it does not fit
   */
  prepareLoad(state: StateValue): () => void {
    const { buffer, left, ...registers } = savedDma(state, 'saved edu.dma');
    return () => {
      this.close();
      this.#registers = registers;
      this.#buffer.set(buffer);
      if (this.#running) this.#schedule(this.#options.clock.now() + left);
    };
  }
}

const noTransfer = (): Record<DmaRegister, bigint> => ({
  source: 0n,
  destination: 0n,
  count: 0n,
  command: 0n,
});

const savedDma = fields({
  source: unsigned(),
  destination: unsigned(),
  count: unsigned(),
  command: unsigned(),
  buffer: bytes(Number(BUFFER.size)),
  /** Nanoseconds until the transfer, if one runs. */
  left: unsigned(),
});
