/** Error classes of the wire; everything not explicitly another class is `GenericError`. */
export type ErrorClass =
  'GenericError' | 'CommandNotFound' | 'DeviceNotActive' | 'DeviceNotFound' | 'KVMMissingCap';

/** A refused command: class and text reach the client as they are. */
export class QmpError extends Error {
  readonly class: ErrorClass;
  constructor(errorClass: ErrorClass, desc: string, options?: { cause?: unknown }) {
    super(desc, options);
    this.name = 'QmpError';
    this.class = errorClass;
  }
}

/** A refusal of class GenericError. */
export const refused = (desc: string, cause?: unknown): QmpError =>
  new QmpError('GenericError', desc, cause === undefined ? undefined : { cause });

/** The refusal of an unknown id or path. */
export const deviceNotFound = (id: string): QmpError =>
  new QmpError('DeviceNotFound', `Device '${id}' not found`);

export const commandNotFound = (desc: string): QmpError => new QmpError('CommandNotFound', desc);
