import type { Readable, Writable } from 'node:stream';
import type { Connection } from './connection.js';
import { StreamConnection } from './stream-connection.js';

/** The client on our own standard input and output. */
export const stdioConnection = (
  input: Readable = process.stdin,
  output: Writable = process.stdout,
): Connection => {
  const destroy = (): void => {
    input.destroy();
  };
  return new StreamConnection({ kind: 'stdio', input, output, destroy });
};
