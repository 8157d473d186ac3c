import t from 'tap';
import { OPTIONS_WITH_EFFECT } from '../../../server/options/command-line.js';
import { HELP } from '../../../server/options/help.js';
import { MACHINE_PROPERTIES, MEMORY_KEYS } from '../../../server/options/machine.js';
import { UNUSED_OPTIONS } from '../../../server/options/unused.js';

const [used = '', unused = ''] = HELP.split('accepted without effect, as are');

/** Whether `text` tells of the option as a word of its own. */
const tells = (text: string, option: string): boolean =>
  new RegExp(`(?:^|[\\s(])--?${option.replace('?', '\\?')}(?![\\w-])`, 'm').test(text);

t.test('-h tells of every option that has an effect', async (t) => {
  for (const option of OPTIONS_WITH_EFFECT) t.equal(tells(used, option), true, option);
});

t.test('-h tells what -machine and -m take', async (t) => {
  const from = (option: string): string => {
    const start = used.search(new RegExp(`^  (?:-M, )?${option} `, 'm'));
    return used.slice(start, used.indexOf('\n  -', start + 1));
  };
  for (const [option, keys] of [
    ['-machine', Object.keys(MACHINE_PROPERTIES)],
    ['-m', MEMORY_KEYS],
  ] as const)
    for (const key of keys)
      t.match(from(option), new RegExp(`[[,]${key}(?:=|\\.N)`), `${option} ${key}`);
});

t.test('-h tells every option that is accepted without effect', async (t) => {
  for (const option of Object.keys(UNUSED_OPTIONS)) {
    t.equal(tells(unused, option), true, option);
    t.equal(tells(used, option), false, `${option} only there`);
  }
});

t.test('-h fits a terminal', async (t) => {
  for (const line of HELP.split('\n')) t.equal(line.length <= 100, true, line);
});
