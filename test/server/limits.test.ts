import t from 'tap';
import { LIMITS, limitsWith, parseLimit } from '../../server/limits.js';

t.test('limits have defaults within their bounds', async (t) => {
  for (const [name, { default: value, min, max }] of Object.entries(LIMITS))
    t.equal(value >= min && value <= max, true, name);
  t.match(limitsWith({ clients: 3 }), { clients: 3, 'json-depth': 1024 });
});

t.test('NAME=VALUE is read, or refused with name, value and rule', async (t) => {
  t.strictSame(parseLimit('clients=1'), { name: 'clients', value: 1 });
  t.strictSame(parseLimit('clients=65536'), { name: 'clients', value: 65536 });
  for (const value of ['0', '65537', '', '1.5', '-1', '1e3', '9'.repeat(20)])
    t.throws(() => parseLimit(`clients=${value}`), {
      message: `limit 'clients' takes a number from 1 to 65536, not '${value}'`,
    });
  t.throws(() => parseLimit('clients'), { message: /takes a number/ });
  t.throws(() => parseLimit('nope=1'), { message: /^limit 'nope' is not known; known are json-/ });
});
