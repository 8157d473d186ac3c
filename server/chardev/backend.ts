import type { QomProperty } from '../machine/qom.js';

/** What a character device is on its far side. */
export interface CharBackend {
  /** QOM type: `chardev-socket`, `chardev-null`, ... */
  readonly typeName: string;
  /** As `query-chardev` shows it. */
  readonly filename: string;
  /** Properties of the QOM object. */
  readonly properties: Readonly<Record<string, QomProperty>>;
  /** Makes a socket the peer (`add_client`). Absent: never possible. */
  readonly adopt?: (fd: number) => void;
  /** Disconnects whoever is connected (`yank`); who may come again does. Absent: nobody ever is. */
  readonly cut?: () => void;
  /** Safe to call twice. */
  close(): void | Promise<void>;
}

/** A backend without a far side: `null`, and those that nothing here connects to. */
export const idleBackend = (kind: string): CharBackend => ({
  typeName: `chardev-${kind}`,
  filename: kind,
  properties: {},
  close: () => undefined,
});
