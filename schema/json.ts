/**
 * A JSON value as framing reads it. Every integer is a `bigint`, every number with a fraction or
 * an exponent (or beyond 64 bits) is a `number`. Objects have no prototype, so that any key,
 * `__proto__` included, is ordinary data.
 */
export type JsonValue = null | boolean | bigint | number | string | JsonValue[] | JsonObject;
export interface JsonObject {
  [key: string]: JsonValue;
}

export const isJsonObject = (value: JsonValue | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
