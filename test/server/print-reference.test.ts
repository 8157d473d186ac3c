import { readFileSync } from 'node:fs';
import t from 'tap';
import { reference } from '../../server/print-reference.js';

t.test('docs/reference.md is what the schema prints (else: npm run reference)', async (t) => {
  const printed = readFileSync(new URL('../../docs/reference.md', import.meta.url), 'utf8');
  t.equal(printed, reference());
});
