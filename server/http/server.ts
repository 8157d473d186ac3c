import type { FastifyInstance } from 'fastify';
import type { Limits } from '../limits.js';
import { hostPort } from '../transport/inet.js';
import { reasonOf } from '../transport/reason.js';
import { Access } from './access.js';
import { isLoopback } from './origin.js';
import type { PageSource } from './pages.js';
import type { FeedLookup, Lookup, Upgrades } from './upgrade.js';

/** After such a silence the system asks whether the host of a client is still there. */
const IDLE_MS = 60_000;

/** What `/healthz` answers. */
export interface Health {
  readonly status: string;
  readonly version: string;
  readonly native: 'full' | 'none';
  readonly machines: readonly string[];
}

export interface HttpServerOptions {
  /** What errors call the address. */
  readonly origin: string;
  /** A loopback name or address, or any when there is a token. */
  readonly host: string;
  /** 0 picks one. */
  readonly port: number;
  /** What clients must show. Default: nothing. */
  readonly token?: string | undefined;
  readonly lookup: Lookup;
  /** Default: no machine has an events endpoint. */
  readonly feeds?: FeedLookup;
  readonly health: () => Health;
  /** Default: `/healthz` is the only page. */
  readonly pages?: PageSource;
  readonly limits: Limits;
}

export interface HttpAddress {
  readonly host: string;
  readonly port: number;
}

/** HTTP for people and probes, and the way in for QMP and events over WebSocket. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #access: Access;
  #app: FastifyInstance | undefined;
  #upgrades: Upgrades | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    this.#access = new Access(options.token);
  }

  /**
   * Listens.
   *
   * @returns where, with the port that was picked
   * @throws Error when the address is not ours alone and needs no token, or is in use
   */
  async start(): Promise<HttpAddress> {
    const { origin, host, port } = this.#options;
    if (!isLoopback(host) && !this.#access.needsToken)
      throw new Error(
        `${origin}: without a token file only loopback addresses are accepted, such as 127.0.0.1, not '${host}'`,
      );
    const app = await this.#build();
    this.#app = app;
    try {
      await app.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port });
    } catch (error) {
      const where = hostPort({ host, port });
      throw new Error(`${origin}: Failed to listen on ${where}: ${reasonOf(error)}`, {
        cause: error,
      });
    }
    const address = app.server.address();
    return { host, port: typeof address === 'object' && address !== null ? address.port : port };
  }

  /** Closes the listener and every connection. Safe to call twice. */
  async stop(): Promise<void> {
    this.#upgrades?.close();
    await this.#app?.close();
  }

  /** Loads Fastify and ws: not needed before somebody wants HTTP. */
  async #build(): Promise<FastifyInstance> {
    const [{ fastify }, { Upgrades }, { addPages, addRefusals }] = await Promise.all([
      import('fastify'),
      import('./upgrade.js'),
      import('./pages.js'),
    ]);
    const { limits, lookup, feeds, health, pages } = this.#options;
    const app = fastify({ forceCloseConnections: true });
    app.addHook('onRequest', async (request, reply) => {
      const refusal = this.#access.check(request.raw);
      if (refusal === undefined) return;
      if (refusal.status === 401) void reply.header('www-authenticate', 'Bearer');
      await reply.code(refusal.status).send({ error: refusal.reason });
    });
    addRefusals(app);
    app.get('/healthz', () => {
      const { machines, ...rest } = health();
      return { ...rest, machines: { count: machines.length, names: machines } };
    });
    if (pages !== undefined) addPages(app, pages);
    this.#upgrades = new Upgrades({
      access: this.#access,
      lookup,
      feeds: feeds ?? (() => undefined),
      pages: (request, response) => app.routing(request, response),
      maxPayload: limits['websocket-frame-bytes'],
    });
    app.server.maxConnections = limits['http-connections'];
    // Of a client whose host has gone no other end would ever be heard.
    app.server.on('connection', (socket) => socket.setKeepAlive(true, IDLE_MS));
    app.server.on('upgrade', this.#upgrades.onUpgrade);
    return app;
  }
}
