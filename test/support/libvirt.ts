import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, privateFolder, PROGRAM, type Cleanup } from './daemon.js';

/** libvirt keeps the folders of the system when it runs as root, so root tests as somebody else. */
const NOBODY = 65_534;
const asUser = (words: readonly string[]): [string, string[]] => {
  const ids = ['--reuid', String(NOBODY), '--regid', String(NOBODY), '--clear-groups'];
  const [file = '', ...rest] = process.getuid?.() === 0 ? ['setpriv', ...ids, ...words] : words;
  return [file, rest];
};

/** Why libvirt cannot be tested here; undefined when it can. */
export const libvirtMissing = (): string | undefined => {
  for (const program of ['libvirtd', 'virsh'])
    if (spawnSync(program, ['--version']).error !== undefined) return `${program} is not installed`;
  const [file, words] = asUser([process.execPath, PROGRAM, '-version']);
  const { status } = spawnSync(file, words, { cwd: '/' });
  return status === 0 ? undefined : 'another user than root cannot run qmemd from this folder';
};

/** A libvirt daemon of one user, with folders of its own. */
export class Libvirt {
  /** What a domain names as its emulator. */
  readonly emulator: string;
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  #daemon: ChildProcess | undefined;

  constructor(t: Cleanup) {
    this.#folder = privateFolder(t);
    this.emulator = join(this.#folder, 'qmemd');
    writeFileSync(this.emulator, `#!/bin/sh\nexec '${process.execPath}' '${PROGRAM}' "$@"\n`);
    chmodSync(this.emulator, 0o755);
    const at = (name: string): string => this.#ownFolder(join(this.#folder, name));
    this.#env = {
      PATH: process.env['PATH'],
      LC_ALL: 'C',
      HOME: at('home'),
      XDG_CONFIG_HOME: at('config'),
      XDG_RUNTIME_DIR: at('run'),
      XDG_CACHE_HOME: at('cache'),
      XDG_DATA_HOME: at('data'),
    };
    at('config/libvirt');
    this.write('config/libvirt/qemu.conf', 'stdio_handler = "file"\n');
    this.write('config/libvirt/libvirtd.conf', 'log_outputs = "4:stderr"\n');
    this.#own(this.#folder);
  }

  /** Writes a file that the daemon and its domains can use. @returns its path */
  write(name: string, text: string): string {
    const path = join(this.#folder, name);
    writeFileSync(path, text);
    this.#own(path);
    return path;
  }

  async start(): Promise<void> {
    const config = join(this.#folder, 'config/libvirt/libvirtd.conf');
    this.#daemon = this.#spawn(['libvirtd', '-f', config], 'ignore');
    const socket = join(this.#folder, 'run/libvirt/libvirt-sock');
    await eventually('libvirtd listens', () => existsSync(socket));
  }
  async stop(): Promise<void> {
    const daemon = this.#daemon;
    this.#daemon = undefined;
    if (daemon === undefined || daemon.exitCode !== null) return;
    const gone = once(daemon, 'exit');
    daemon.kill('SIGTERM');
    await gone;
  }
  /** Process of a running domain; undefined when it is gone. */
  domainProcess(name: string): number | undefined {
    const file = join(this.#folder, 'run/libvirt/qemu/run', `${name}.pid`);
    return existsSync(file) ? Number(readFileSync(file, 'latin1')) : undefined;
  }

  /** @returns what virsh printed @throws Error with what it complained about */
  virsh(...words: string[]): Promise<string> {
    const [file, rest] = asUser(['virsh', '-q', '-c', 'qemu:///session', ...words]);
    return new Promise((resolve, reject) => {
      const options = { env: this.#env, cwd: '/', timeout: 40_000 };
      execFile(file, rest, options, (error, stdout, stderr) => {
        if (error === null) resolve(stdout.trim());
        else reject(new Error(`virsh ${words.join(' ')}: ${stderr.trim() || error.message}`));
      });
    });
  }
  /** Any QMP command, by way of libvirt. */
  async qmp(domain: string, command: object): Promise<unknown> {
    return JSON.parse(await this.virsh('qemu-monitor-command', domain, JSON.stringify(command)));
  }
  /** Collects the events of a domain until `stop`. */
  watch(domain: string): { text(): string; stop(): Promise<string> } {
    const words = ['qemu-monitor-event', domain, '--loop', '--timeout', '40'];
    const child = this.#spawn(['virsh', '-c', 'qemu:///session', ...words], 'pipe');
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
    const gone = once(child, 'close');
    return {
      text: () => text,
      stop: async () => {
        child.kill('SIGINT');
        await gone;
        return text;
      },
    };
  }

  #spawn(words: readonly string[], output: 'ignore' | 'pipe'): ChildProcess {
    const [file, rest] = asUser(words);
    return spawn(file, rest, { env: this.#env, cwd: '/', stdio: ['ignore', output, 'ignore'] });
  }
  #ownFolder(path: string): string {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    this.#own(path);
    return path;
  }
  #own(path: string): void {
    if (process.getuid?.() === 0) chownSync(path, NOBODY, NOBODY);
  }
}
