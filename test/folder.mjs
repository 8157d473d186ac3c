// Runs the test files of the folder that is named, one after the other: test/suite.mjs tells why.
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';

const folder = process.argv[2] ?? '.';
let loaded = () => undefined;
// Tests begin when all is loaded: loading opens and closes descriptors, which some of them count.
void t.test('the files are loaded', () => new Promise((resolve) => (loaded = resolve)));
for (const name of readdirSync(folder).sort())
  if (name.endsWith('.test.ts')) {
    t.comment(`${folder}/${name}`);
    await import(pathToFileURL(resolve(folder, name)).href);
  }
loaded();
