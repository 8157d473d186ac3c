// Lets Node run the tests as they are written, in TypeScript: `.taprc` gives this to every test.
import { register } from 'node:module';

register('./hooks.mjs', import.meta.url);
