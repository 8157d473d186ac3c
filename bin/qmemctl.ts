#!/usr/bin/env node
import { run } from '../ctl/main.js';
import { VERSION } from '../server/version.js';

const done = new AbortController();
// A reader that leaves (`qmemctl events | head -1`) ends the program quietly.
process.stdout.on('error', () => done.abort());

const { env, stdout } = process;
process.exitCode = await run(process.argv.slice(2), {
  env,
  version: VERSION,
  // Opened by whoever reads it: an input that is merely there must not keep the program alive.
  get input() {
    return process.stdin;
  },
  get terminal() {
    return process.stdin.isTTY && stdout.isTTY ? stdout : undefined;
  },
  out: (text) => void stdout.write(text),
  err: (text) => void process.stderr.write(text),
  done: done.signal,
  catchInterrupt: () => {
    // Once: a second one ends the process, whatever it waits for.
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => done.abort());
  },
});
