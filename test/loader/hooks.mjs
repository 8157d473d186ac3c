// Module hooks that turn TypeScript into JavaScript once and keep it in `.tap/transpiled`: a test
// process then neither loads the compiler nor transpiles what it imports, which costs more than
// most tests do. Types are not checked here; `npm run check` does that.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, relative, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const CACHE = join(ROOT, '.tap', 'transpiled');
const TYPESCRIPT = join(ROOT, 'node_modules', 'typescript');
/** Whatever decides the outcome besides the source. */
const BASIS = [
  readFileSync(new URL(import.meta.url), 'utf8'),
  readFileSync(join(TYPESCRIPT, 'package.json'), 'utf8'),
].join();

const isOurs = (url) => url.startsWith('file:') && !url.includes('/node_modules/');

/** Sources name their imports as they are called once built: `.js`. */
export const resolve = async (specifier, context, next) => {
  const { parentURL } = context;
  if (parentURL !== undefined && /^(\.{1,2}\/|file:).*\.js$/.test(specifier) && isOurs(parentURL)) {
    const url = new URL(specifier.replace(/\.js$/, '.ts'), parentURL);
    if (existsSync(url)) return { url: url.href, format: 'module', shortCircuit: true };
  }
  return next(specifier, context);
};

const transpile = (fileName, source) => {
  const ts = createRequire(import.meta.url)(TYPESCRIPT);
  const compilerOptions = {
    target: ts.ScriptTarget.ES2023,
    module: ts.ModuleKind.ESNext,
    verbatimModuleSyntax: true,
    inlineSourceMap: true,
  };
  return ts.transpileModule(source, { fileName, compilerOptions }).outputText;
};

/** The kept text when it is of this very source, else a new one. */
const transpiled = (path) => {
  const source = readFileSync(path, 'utf8');
  const mark = `// ${createHash('sha256').update(BASIS).update(source).digest('hex')}\n`;
  const kept = join(CACHE, `${relative(ROOT, path)}.js`);
  if (existsSync(kept)) {
    const text = readFileSync(kept, 'utf8');
    if (text.endsWith(mark)) return text;
  }
  const text = `${transpile(path, source)}\n${mark}`;
  mkdirSync(dirname(kept), { recursive: true });
  // Others may be reading or writing it at this moment.
  const fresh = `${kept}.${String(process.pid)}`;
  writeFileSync(fresh, text);
  renameSync(fresh, kept);
  return text;
};

export const load = async (url, context, next) => {
  if (!isOurs(url) || !url.endsWith('.ts')) return next(url, context);
  return { format: 'module', source: transpiled(fileURLToPath(url)), shortCircuit: true };
};
