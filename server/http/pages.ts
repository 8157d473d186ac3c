import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { modules } from '../../schema/index.js';
import { introspect } from '../../schema/introspect.js';
import { writeJson } from '../framing/writer.js';
import type { MachineReport } from '../machine-report.js';
import type { MetricsPage } from '../metrics/page.js';

/** What the pages show. */
export interface PageSource {
  /** Every machine in the order of creation; `report` is undefined until it is built. */
  readonly machines: () => readonly { name: string; report: MachineReport | undefined }[];
  /** Loads what `/metrics` needs. */
  readonly metrics: () => Promise<MetricsPage>;
}

const PATHS = ['/healthz', '/machines', '/machines/NAME', '/metrics', '/schema'] as const;
const JSON_TYPE = 'application/json; charset=utf-8';

/** Exact also for integers beyond 2^53. */
const sendJson = (reply: FastifyReply, value: unknown): FastifyReply =>
  reply.type(JSON_TYPE).send(`${writeJson(value)}\n`);

const UNBUILT = { status: 'building', running: false } as const;

/** The line of a machine in the list. */
const summary = (name: string, report: MachineReport | undefined): object => {
  const path = `/machines/${encodeURIComponent(name)}`;
  const links = { path, qmp: `${path}/qmp`, events: `${path}/events` };
  if (report === undefined) return { name, ...UNBUILT, ...links };
  const { uuid, type, status, running, clients, devices, backends } = report;
  const counts = { devices: devices.length, backends: backends.length };
  return { name, uuid, type, status, running, clients, ...counts, ...links };
};

/** True when the client would rather read Markdown than JSON. */
const prefersMarkdown = (accept: string | undefined): boolean => {
  const quality = (type: RegExp): number =>
    Math.max(
      0,
      ...(accept ?? '').split(',').map((range) => {
        const [name = '', ...parameters] = range.split(';').map((part) => part.trim());
        if (!type.test(name)) return 0;
        const q = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
        return q === undefined ? 1 : Number(q);
      }),
    );
  return quality(/^text\/(markdown|plain)$/i) > quality(/^application\/json$/i);
};

/** Adds the pages for people and probes. They only look: a machine is changed over QMP alone. */
export const addPages = (app: FastifyInstance, source: PageSource): void => {
  app.get('/machines', (_, reply) =>
    sendJson(reply, {
      machines: source.machines().map(({ name, report }) => summary(name, report)),
    }),
  );
  app.get('/machines/:name', (request: FastifyRequest<{ Params: { name: string } }>, reply) => {
    const { name } = request.params;
    const found = source.machines().find((machine) => machine.name === name);
    if (found === undefined)
      return sendJson(reply.code(404), { error: `there is no machine '${name}'` });
    return sendJson(reply, found.report ?? { name, ...UNBUILT });
  });
  app.get('/metrics', async (_, reply) => {
    const page = await source.metrics();
    return reply.type(page.contentType).send(await page.text());
  });
  addSchema(app);
};

/** `/schema`: what `query-qmp-schema` answers, or the printed reference. Both are written once. */
const addSchema = (app: FastifyInstance): void => {
  let json: string | undefined;
  let markdown: string | undefined;
  app.get('/schema', async (request, reply) => {
    void reply.header('vary', 'accept');
    if (prefersMarkdown(request.headers.accept)) {
      markdown ??= (await import('../print-reference.js')).reference();
      return reply.type('text/markdown; charset=utf-8').send(markdown);
    }
    json ??= `${writeJson(introspect(modules))}\n`;
    return reply.type(JSON_TYPE).send(json);
  });
};

/** Answers for everything that is no page: other methods, other paths, our own failures. */
export const addRefusals = (app: FastifyInstance): void => {
  app.addHook('onRequest', async (request, reply) => {
    if (request.method === 'GET' || request.method === 'HEAD') return;
    await sendJson(reply.code(405).header('allow', 'GET, HEAD'), {
      error: 'pages can only be read; a machine is changed over QMP',
    });
  });
  app.setNotFoundHandler((_, reply) =>
    sendJson(reply.code(404), { error: 'there is no such page', pages: PATHS }),
  );
  app.setErrorHandler((error: Error & { statusCode?: number }, _, reply) => {
    const status = error.statusCode ?? 500;
    const text = status < 500 ? error.message : 'internal error';
    return sendJson(reply.code(status), { error: text });
  });
};
