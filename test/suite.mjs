// What `npm test` runs: the test files of each folder in one process, two folders at a time. What
// a process loads before its first test, tap and all of qmemd, takes longer than most files do.
// One file runs by `npx tap FILE`.
import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const HERE = fileURLToPath(new URL('.', import.meta.url));
/** A folder may take so long, in seconds; a busy computer takes many times what an idle one does. */
const TIMEOUT = 600;
/**
 * Node without what tap gives by NODE_OPTIONS to whatever it starts and to whatever that starts:
 * it records modules for coverage, which nobody measures.
 */
const NODE = ['-u', 'NODE_OPTIONS', `TAP_TIMEOUT=${TIMEOUT}`, process.execPath];

const folders = readdirSync(HERE, { recursive: true })
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => dirname(name));

t.jobs = 2;
t.setTimeout(0);
for (const folder of new Set(folders))
  void t.spawn(
    'env',
    [...NODE, '--import=./test/loader/register.mjs', 'test/folder.mjs', `test/${folder}`],
    { buffered: true, timeout: TIMEOUT * 1000 },
    `test/${folder}`,
  );
