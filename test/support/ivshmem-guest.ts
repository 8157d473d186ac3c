import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, privateFolder, PROGRAM, type Cleanup } from './daemon.js';
import { ConfigAccess, Qtest } from './qtest.js';

const SLOT = 4;
const REGISTERS = 0xe0000000;
const MSIX = 0xe0001000;
const MEMORY = 0xe1000000;
/** Where the message of vector k lands in guest memory: word k. */
const MESSAGES = 0x2000;
const message = (vector: number): number => MESSAGES + 4 * vector;

/** Whose machine it is. */
export type Program = 'qmemd' | 'qemu';

export interface GuestOptions {
  readonly program: Program;
  /** Socket of the server. */
  readonly server: string;
  readonly vectors: number;
}

/** A process with an ivshmem-doorbell device, and the driver in its guest. */
export class IvshmemGuest {
  readonly child: ChildProcess;
  readonly #qtest: Qtest;
  readonly #gone: Promise<unknown>;
  /** Own id among the peers. */
  id = -1;

  private constructor(child: ChildProcess, qtest: Qtest) {
    this.child = child;
    this.#qtest = qtest;
    this.#gone = once(child, 'exit');
  }

  static async start(t: Cleanup, options: GuestOptions): Promise<IvshmemGuest> {
    const path = join(privateFolder(t), 'qtest');
    const [file, words] = program(options, path);
    const child = spawn(file, words, { stdio: 'ignore' });
    const guest = new IvshmemGuest(child, await connect(path, child));
    t.teardown(() => guest.kill());
    await guest.#setUp(options.vectors);
    return guest;
  }

  /** BARs, MSI-X with every vector unmasked, bus mastering. */
  async #setUp(vectors: number): Promise<void> {
    const config = new ConfigAccess(this.#qtest, SLOT);
    await config.write(0x10, REGISTERS);
    await config.write(0x14, MSIX);
    await config.write(0x18, MEMORY);
    await config.write(0x04, 6, 2);
    await config.write(0x42, 0x8000, 2);
    for (let vector = 0; vector < vectors; vector++) {
      const entry = MSIX + 16 * vector;
      const words = [message(vector), 0, 0x100 + vector, 0];
      await this.#qtest.askAll(
        words.map((word, i) => `writel ${String(entry + 4 * i)} ${String(word)}`),
      );
    }
    this.id = Number(await this.#qtest.value(`readl ${String(REGISTERS + 8)}`));
  }

  /** Replies to qtest lines, one each. */
  ask(lines: readonly string[]): Promise<string[]> {
    return this.#qtest.askAll(lines);
  }
  ring(peer: number, vector: number, times = 1): Promise<unknown> {
    const line = `writel ${String(REGISTERS + 12)} ${String(peer * 65_536 + vector)}`;
    return this.#qtest.askAll(Array.from({ length: times }, () => line));
  }
  /** Whether a message of `vector` has come; it is then taken. */
  async take(vector: number): Promise<boolean> {
    const word = await this.#qtest.value(`readl ${String(message(vector))}`);
    if (word === 0n) return false;
    if (word !== BigInt(0x100 + vector)) throw new Error(`message ${String(word)} was invented`);
    await this.#qtest.ask(`writel ${String(message(vector))} 0`);
    return true;
  }
  /** Settles when a message of `vector` has come; it is then taken. @throws after 20 s */
  async taken(vector: number): Promise<void> {
    const deadline = Date.now() + 20_000;
    while (!(await this.take(vector)))
      if (Date.now() > deadline) throw new Error(`no message of vector ${String(vector)}`);
  }
  async readMemory(offset: number): Promise<number> {
    return Number(await this.#qtest.value(`readl ${String(MEMORY + offset)}`));
  }
  async writeMemory(offset: number, value: number): Promise<void> {
    await this.#qtest.ask(`writel ${String(MEMORY + offset)} ${String(value)}`);
  }
  /** Event counters that the process holds; some are its own. */
  get counters(): number {
    const folder = `/proc/${String(this.child.pid)}/fd`;
    return readdirSync(folder).filter((fd) => isCounter(`${folder}/${fd}`)).length;
  }

  /** Ends in order. */
  async leave(): Promise<void> {
    this.#qtest.close();
    this.child.kill('SIGTERM');
    await this.#gone;
  }
  async kill(): Promise<void> {
    this.#qtest.close();
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill('SIGKILL');
    await this.#gone;
  }
}

const isCounter = (path: string): boolean => {
  try {
    return readlinkSync(path) === 'anon_inode:[eventfd]';
  } catch {
    // It was closed meanwhile.
    return false;
  }
};

const program = (
  { program: name, server, vectors }: GuestOptions,
  qtest: string,
): [string, string[]] => {
  const words = [
    ...['-M', 'pc', '-nodefaults', '-S', '-qtest', `unix:${qtest},server=on,wait=off`],
    ...['-chardev', `socket,id=c0,path=${server}`],
    ...['-device', `ivshmem-doorbell,chardev=c0,vectors=${String(vectors)},addr=${String(SLOT)}`],
  ];
  if (name === 'qmemd') return [process.execPath, [PROGRAM, ...words]];
  const quiet = ['-display', 'none', '-accel', 'tcg', '-qtest-log', '/dev/null'];
  return ['qemu-system-x86_64', [...quiet, ...words]];
};

/** @throws Error when the process ends before it listens */
const connect = async (path: string, child: ChildProcess): Promise<Qtest> => {
  let qtest: Qtest | undefined;
  let trying = false;
  await eventually('the qtest socket', () => {
    if (child.exitCode !== null) throw new Error(`it ended with ${String(child.exitCode)}`);
    if (qtest === undefined && !trying) {
      trying = true;
      Qtest.connect(path).then(
        (connected) => (qtest = connected),
        () => (trying = false),
      );
    }
    return qtest !== undefined;
  });
  if (qtest === undefined) throw new Error('not connected');
  return qtest;
};
