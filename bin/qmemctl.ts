#!/usr/bin/env node
import { run } from '../ctl/main.js';
import { VERSION } from '../server/version.js';

const done = new AbortController();
// A reader that leaves (`qmemctl events | head -1`) ends the program quietly.
process.stdout.on('error', () => done.abort());

process.exitCode = await run(process.argv.slice(2), {
  env: process.env,
  version: VERSION,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  done: done.signal,
});
