import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import t from 'tap';
import { raceForBlocks } from '../../../scripts/pool-race.mjs';

const c = spawnSync('gcc', ['--version']).status === 0;
if (!c) t.comment('gcc is not installed: the contender without locks is left out');

t.test('no block has two owners while heads and a program without locks contend', async (t) => {
  const result = await raceForBlocks({
    dist: new URL('../../../dist/', import.meta.url),
    operations: 5000,
    heads: 2,
    directory: existsSync('/dev/shm') ? '/dev/shm' : tmpdir(),
    c,
  });
  t.equal(result.doubles, 0);
  t.ok(result.wins.every((wins) => wins > 100));
  t.equal(result.owned, 0);
  t.notOk(result.left);
});
