// Asks real QEMU how it takes each case of test/fixtures/json-corpus/cases.json and writes down what
// it says: `accept`, `reject`, or `either` where its own answer is no JSON. Usage: node scripts/json-corpus.mjs, where qemu-system-x86_64 is installed.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const CASES = new URL('../test/fixtures/json-corpus/cases.json', import.meta.url);
const SENTINEL = '{"execute":"query-name","id":"sentinel"}';

/** Lines for a case: everything before the answer to a forced end of the message. */
const ask = (path, bytes) =>
  new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    let greeted = false;
    socket.setEncoding('utf8');
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed')));
    socket.on('data', (chunk) => {
      text += chunk;
      if (!greeted && text.includes('"return": {}')) {
        greeted = true;
        socket.write(Buffer.concat([bytes, Buffer.from([0xff]), Buffer.from(SENTINEL)]));
      }
      if (!text.includes('"sentinel"}\r\n')) return;
      socket.removeAllListeners('close');
      socket.destroy();
      // Without greeting, negotiation, the error of the forced end, and the sentinel.
      resolve(text.split('\r\n').slice(2, -3));
    });
    socket.write('{"execute":"qmp_capabilities"}');
  });

const folder = mkdtempSync(join(tmpdir(), 'qmemd-corpus-'));
const path = join(folder, 'qmp');
const words = ['-M', 'none', '-name', 'vm0', '-accel', 'tcg', '-S', '-display', 'none'];
const start = () =>
  spawn('qemu-system-x86_64', [...words, '-nodefaults', '-qmp', `unix:${path},server=on,wait=off`]);
let child = start();

/** QEMU may die of clients that come and go; then it is started anew. */
const insist = async (bytes) => {
  for (let tries = 0; tries < 100; tries++) {
    try {
      return await ask(path, bytes);
    } catch {
      if (child.exitCode !== null || child.signalCode !== null) {
        rmSync(path, { force: true });
        child = start();
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error('real QEMU does not answer');
};

/** How QEMU took it, by its answers. */
const verdict = (replies) => {
  if (replies.some((line) => /[[ ]-?inf\b/.test(line))) return 'either';
  return replies.some((line) => /"desc": "JSON /.test(line)) ? 'reject' : 'accept';
};

const cases = JSON.parse(readFileSync(CASES, 'utf8'));
for (const one of cases) {
  one.replies = await insist(Buffer.from(one.hex, 'hex'));
  one.verdict = verdict(one.replies);
}
child.kill();
rmSync(folder, { recursive: true });
writeFileSync(CASES, `[\n${cases.map((one) => `  ${JSON.stringify(one)}`).join(',\n')}\n]\n`);
console.log(`${cases.length} cases`);
