import fc from 'fast-check';
import { modules } from '../../schema/index.js';
import type { CommandDef, Member, Members, Type, UnionType } from '../../schema/lang.js';
import type { Json } from '../side-by-side/client.js';

/** Values that a member of that name mostly gets, so that commands get past the first check. */
const LIKELY: Readonly<Record<string, readonly Json[]>> = {
  id: [
    'd0',
    'd0',
    'd0',
    'd0',
    'd0',
    'd1',
    'd2',
    'm0',
    'm1',
    'm2',
    'rp1',
    '/machine/peripheral/d0',
    '',
  ],
  path: ['d0', 'd1', 'm0', 'rp1', '/machine', '/objects', '/', '', '/machine/peripheral/d1/memdev'],
  property: ['size', 'type', 'addr', 'memdev', 'guest-policy', 'realized', 'merge', 'parent_bus'],
  value: [true, false, 'manual', 'accept', 'reject', 4096n],
  driver: ['dynamic-mdevice', 'ivshmem-plain', 'pcie-root-port', 'pci-bridge', 'pcie-pci-bridge'],
  typename: ['ivshmem-plain', 'memory-backend-ram', 'pci-device', 'pcie-root-port'],
  implements: ['device', 'pci-device', 'memory-backend'],
  bus: ['pcie.0', 'pci.0', 'rp1', 'd1', 'd2', 'rp1/d1'],
  memdev: ['m0', 'm1', 'm2', 'pc.ram'],
  addr: ['2', '3.1', '1f.7', '6', 8n, -1n],
  size: [1n, 2n, 4n, 8n, 4096n, 4096n, 4096n, 8192n, 1n << 20n],
  align: [0n, 4096n, 65536n],
  offset: [0n, 0n, 0n, 4096n, 8192n, 4n, 8n, 0x10n, 0x18n, 0x40n, 4096n, 65536n],
  length: [0n, 1n, 64n, 4096n],
  bar: [0n, 2n, 1n],
  data: ['AAAA', 'aGVsbG8=', '', '*'],
  since: [0n, 1n, 1000n],
  'mem-path': ['/dev/zero', 'file', '/nonexistent/file', '.'],
};
const NUMBERS = [0n, 1n, 2n, 4n, 8n, 4095n, -1n, (1n << 63n) - 1n, (1n << 64n) - 1n];

const junk: fc.Arbitrary<Json> = fc.oneof(
  fc.constantFrom<Json>(null, true, false, 1.5, [], {}, ['x'], { a: 1n }),
  fc.constantFrom(...NUMBERS),
  fc.string({ maxLength: 8 }),
);
const text = fc.string({ maxLength: 12 });
const integer = fc.oneof(
  fc.constantFrom(...NUMBERS),
  fc.bigInt({ min: 0n, max: 255n }),
  fc.bigInt({ min: -(1n << 63n), max: (1n << 64n) - 1n }),
);

const valueOf = (type: Type): fc.Arbitrary<Json> => {
  switch (type.kind) {
    case 'int':
      return integer;
    case 'str':
      return text;
    case 'bool':
      return fc.boolean();
    case 'enum':
      return fc.constantFrom(...type.values);
    case 'array':
      return fc.array(valueOf(type.item), { maxLength: 3 });
    case 'object':
      return membersOf(type.members);
    case 'union':
      return unionOf(type);
    case 'any':
    case 'number':
    case 'null':
    case 'alternate':
    case 'lazy':
      return junk;
  }
};
const typeOf = (member: Member): Type => (member.kind === 'opt' ? member.type : member);
const named = (name: string, value: fc.Arbitrary<Json>): fc.Arbitrary<Json> => {
  const likely = LIKELY[name];
  const usual =
    likely === undefined
      ? value
      : fc.oneof(
          { weight: 9, arbitrary: fc.constantFrom(...likely) },
          { weight: 1, arbitrary: value },
        );
  return fc.oneof({ weight: 20, arbitrary: usual }, { weight: 1, arbitrary: junk });
};

const membersOf = (members: Members): fc.Arbitrary<{ [name: string]: Json }> => {
  const values = Object.entries(members).map(
    ([name, member]) => [name, named(name, valueOf(typeOf(member)))] as const,
  );
  const required = Object.keys(members).filter((name) => members[name]?.kind !== 'opt');
  return fc.record(Object.fromEntries(values), { requiredKeys: required });
};
const unionOf = ({
  base,
  branches,
  discriminator,
}: UnionType): fc.Arbitrary<{ [name: string]: Json }> =>
  fc.oneof(
    ...Object.entries(branches).map(([name, branch]) =>
      membersOf({ ...base, ...branch.members }).map((object) => ({
        ...object,
        [discriminator]: name,
      })),
    ),
  );
const argumentsOf = ({ args }: CommandDef): fc.Arbitrary<{ [name: string]: Json }> =>
  (args as UnionType).kind === 'union' ? unionOf(args as UnionType) : membersOf(args as Members);

/** Properties that `device_add` takes beyond its schema. */
const deviceExtras: fc.Arbitrary<{ [name: string]: Json }> = fc.record<Record<string, Json>>(
  {
    ...Object.fromEntries(
      ['addr', 'memdev', 'size', 'align', 'mem-path'].map((name) => [name, named(name, text)]),
    ),
    multifunction: fc.boolean(),
  },
  { requiredKeys: ['mem-path'] },
);

export interface RandomCommand {
  readonly execute: string;
  readonly arguments: { [name: string]: Json };
}

/** What ends the dialogue; `set-action` lets a reset end the machine. */
const ENDING: readonly string[] = ['quit', 'qmp_capabilities', 'set-action'];

/** The same on the human monitor, where one letter does it. */
const isEnding = ({ arguments: args }: RandomCommand): boolean =>
  /^\s*q(uit)?\b/.test(String(args['command-line']));

/** Any command but those that end the dialogue, with arguments that are right more often than not. */
export const randomCommand: fc.Arbitrary<RandomCommand> = fc
  .oneof(
    ...modules
      .flatMap((module) => Object.values(module))
      .filter((value): value is CommandDef => (value as { kind?: string }).kind === 'command')
      .filter(({ name }) => !ENDING.includes(name))
      .map((def) =>
        fc
          .tuple(argumentsOf(def), def.name === 'device_add' ? deviceExtras : fc.constant({}))
          .map(([args, extra]) => ({ execute: def.name, arguments: { ...args, ...extra } })),
      ),
  )
  .filter((command) => !isEnding(command));
