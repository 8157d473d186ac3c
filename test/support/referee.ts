import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const QEMU = 'qemu-system-x86_64';

interface Parent {
  teardown(run: () => Promise<void>): void;
}

/** Why tests that compare with real QEMU 7.2 must be skipped; false when it is installed. */
export const refereeMissing = (): string | false => {
  const installed = spawnSync(QEMU, ['--version'], { encoding: 'utf8' }).stdout ?? '';
  return /version 7\.2/.test(installed) ? false : 'QEMU 7.2 is not installed';
};

/** The guest side of a real QEMU: one line out, one line back. */
export class Qtest {
  readonly #socket: Socket;
  #text = '';
  #waiting: ((line: string) => void) | undefined;
  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('ascii').on('data', (text: string) => {
      this.#text += text;
      const end = this.#text.indexOf('\n');
      if (end < 0) return;
      const line = this.#text.slice(0, end);
      this.#text = this.#text.slice(end + 1);
      this.#waiting?.(line);
    });
  }
  async ask(request: string): Promise<string> {
    const line = new Promise<string>((resolve) => (this.#waiting = resolve));
    this.#socket.write(`${request}\n`);
    const reply = await line;
    return reply.split(' ')[1] ?? '';
  }
  async config(devfn: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(256);
    for (let at = 0; at < 256; at += 4) {
      await this.ask(`outl 0xcf8 ${String(0x8000_0000 + devfn * 256 + at)}`);
      new DataView(bytes.buffer).setUint32(at, Number(await this.ask('inl 0xcfc')), true);
    }
    return bytes;
  }
  async memory(address: number, length: number): Promise<Uint8Array> {
    const hex = await this.ask(`read ${String(address)} ${String(length)}`);
    return new Uint8Array(Buffer.from(hex.slice(2), 'hex'));
  }
}

/** Starts QEMU with a qtest socket; it ends with the test. */
export const startReferee = async (t: Parent, args: readonly string[]): Promise<Qtest> => {
  const dir = mkdtempSync(join(tmpdir(), 'qmemd-referee-'));
  const path = join(dir, 'qtest');
  const child = spawn(
    QEMU,
    [
      ...['-accel', 'tcg', '-display', 'none', '-qtest-log', '/dev/null'],
      ...['-qtest', `unix:${path},server=on,wait=on`],
      ...args,
    ],
    { stdio: 'ignore' },
  );
  const exited = new Promise((resolve) => child.once('exit', resolve));
  const socket = await connected(path, exited);
  t.teardown(async () => {
    socket.destroy();
    child.kill();
    await exited;
    rmSync(dir, { recursive: true, force: true });
  });
  return new Qtest(socket);
};

/** Tries until QEMU listens. */
const connected = async (path: string, exited: Promise<unknown>): Promise<Socket> => {
  let gone = false;
  void exited.then(() => (gone = true));
  for (;;) {
    const socket = connect(path);
    const ok = await new Promise<boolean>((resolve) =>
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
    );
    if (ok) return socket;
    if (gone) throw new Error('QEMU ended before it listened');
  }
};
