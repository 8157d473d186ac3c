import type { JsonObject, JsonValue } from '../../schema/json.js';

/**
 * Reads the arguments of `qmp_capabilities`: whether out-of-band execution is to be enabled, or
 * what is wrong, with the texts of reference/qmp-protocol.md §2.5 rows 101-104.
 */
export const readCapabilities = (
  args: JsonObject | undefined,
): { readonly oob: boolean } | { readonly problem: string } => {
  const enable = args?.['enable'];
  const problem = enable === undefined ? undefined : enableProblem(enable);
  if (problem !== undefined) return { problem };
  const unknown = Object.keys(args ?? {}).find((name) => name !== 'enable');
  if (unknown !== undefined) return { problem: `Parameter '${unknown}' is unexpected` };
  return { oob: Array.isArray(enable) && enable.length > 0 };
};

const enableProblem = (enable: JsonValue): string | undefined => {
  if (!Array.isArray(enable)) return "Invalid parameter type for 'enable', expected: array";
  for (const [i, capability] of enable.entries()) {
    if (typeof capability !== 'string')
      return `Invalid parameter type for 'enable[${String(i)}]', expected: string`;
    if (capability !== 'oob') return `Parameter 'null' does not accept value '${capability}'`;
  }
  return undefined;
};
