import { execFile, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { privateFolder, type Cleanup } from './daemon.js';

const runFile = promisify(execFile);

/** False when there is a tmux, else why a test skips. */
export const noTmux =
  spawnSync('tmux', ['-V']).status === 0 ? (false as const) : 'tmux is not installed';

/** A real terminal: a tmux server of our own with one window. */
export class Terminal {
  readonly #socket: string;

  private constructor(socket: string) {
    this.#socket = socket;
  }

  /** Runs a shell command line in a window of that size. */
  static async start(
    t: Cleanup,
    commandLine: string,
    { columns = 80, rows = 24 }: { columns?: number; rows?: number } = {},
  ): Promise<Terminal> {
    const terminal = new Terminal(join(privateFolder(t), 'tmux'));
    t.teardown(() => terminal.#tmux('kill-server').catch(() => undefined));
    const size = ['-x', String(columns), '-y', String(rows)];
    await terminal.#tmux('-f', '/dev/null', 'new-session', '-d', ...size, commandLine);
    return terminal;
  }

  async #tmux(...words: string[]): Promise<string> {
    const { stdout } = await runFile('tmux', ['-S', this.#socket, ...words], {
      env: { ...process.env, TERM: 'xterm', LC_ALL: 'C.UTF-8', TMUX: '' },
    });
    return stdout;
  }

  /** Types text as it is. */
  async type(text: string): Promise<void> {
    await this.#tmux('send-keys', '-l', text);
  }
  /** Pastes text, marked as such where the program has asked for it. */
  async paste(text: string): Promise<void> {
    await this.#tmux('set-buffer', text);
    await this.#tmux('paste-buffer', '-p');
  }
  /** Presses keys by tmux's names: Enter, Tab, C-c, C-d, Left, Up. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux('send-keys', ...keys);
  }
  /** The lines on the screen, without blanks at their ends. */
  async screen(): Promise<string[]> {
    const text = await this.#tmux('capture-pane', '-p');
    return text.trimEnd().split('\n');
  }
  /** Column and row of the cursor, from 0. */
  async cursor(): Promise<[number, number]> {
    const text = await this.#tmux('display-message', '-p', '#{cursor_x} #{cursor_y}');
    const [x = 0, y = 0] = text.trim().split(' ').map(Number);
    return [x, y];
  }

  /** Waits until the screen is as wanted. @throws Error that shows it when it never is */
  async until(isThere: (lines: readonly string[]) => boolean): Promise<string[]> {
    for (let tries = 0; ; tries++) {
      const lines = await this.screen();
      if (isThere(lines)) return lines;
      if (tries === 200) throw new Error(`the screen stays at\n${lines.join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}
