import { readFileSync } from 'node:fs';
import t from 'tap';
import { plainTypes, userDeviceTypes } from '../../../devices/index.js';
import { TypeRegistry } from '../../../server/machine/type-registry.js';

t.test(
  'the table of drivers in README.md has every type that can be made, and no other',
  async (t) => {
    const text = readFileSync(new URL('../../../README.md', import.meta.url), 'utf8');
    const start = text.search(/^\| drivers +\| what/m);
    t.not(start, -1, 'there is a table');
    const rows = text.slice(start, text.indexOf('\n\n', start)).split('\n').slice(2);
    const told = rows.flatMap((row) =>
      [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name),
    );
    const types = new TypeRegistry(userDeviceTypes, plainTypes);
    t.strictSame(
      told.sort(),
      types
        .creatables()
        .map(({ name }) => name)
        .sort(),
    );
  },
);
