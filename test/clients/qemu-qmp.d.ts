/** The part of npm `qemu-qmp` that its users call; it brings no types. */
declare module 'qemu-qmp' {
  import type { Socket } from 'node:net';

  type Callback = (error: Error | null, value: unknown) => void;
  export default class QMP extends Socket {
    connect(path: string, callback: Callback): this;
    execute(command: string, callback: Callback): void;
    execute(command: string, args: Readonly<Record<string, unknown>>, callback: Callback): void;
  }
}
