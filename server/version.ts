/** Version of this program; the same as in package.json (a test compares them). */
export const VERSION = '0.1.0';

/** The QMP level that we are compatible with (design §3), as `query-version` answers. */
export const QMP_VERSION = {
  qemu: { micro: 0n, minor: 2n, major: 10n },
  package: `qmemd ${VERSION}`,
} as const;

/** The greeting of every monitor. */
export const GREETING = { QMP: { version: QMP_VERSION, capabilities: ['oob'] } } as const;
