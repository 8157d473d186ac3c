import type { FastifyInstance } from 'fastify';
import type { Limits } from '../limits.js';
import { isLoopback, isTrusted } from './origin.js';
import type { Lookup, QmpUpgrades } from './upgrade.js';

/** What `/healthz` answers. */
export interface Health {
  readonly status: string;
  readonly version: string;
  readonly native: 'full' | 'none';
  readonly machines: readonly string[];
}

export interface HttpServerOptions {
  /** A loopback name or address. */
  readonly host: string;
  /** 0 picks one. */
  readonly port: number;
  readonly lookup: Lookup;
  readonly health: () => Health;
  readonly limits: Limits;
}

export interface HttpAddress {
  readonly host: string;
  readonly port: number;
}

/** HTTP for people and probes, and the way in for QMP over WebSocket. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  #app: FastifyInstance | undefined;
  #upgrades: QmpUpgrades | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
  }

  /**
   * Listens.
   *
   * @returns where, with the port that was picked
   * @throws Error when the address is not ours alone, or in use
   */
  async start(): Promise<HttpAddress> {
    const { host, port } = this.#options;
    if (!isLoopback(host))
      throw new Error(
        `--listen ${host}:${String(port)}: only loopback addresses are accepted, such as 127.0.0.1`,
      );
    const app = await this.#build();
    this.#app = app;
    try {
      await app.listen({ host: host.replace(/^\[(.*)\]$/, '$1'), port });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`--listen ${host}:${String(port)}: ${reason}`, { cause: error });
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
    const [{ fastify }, { QmpUpgrades }] = await Promise.all([
      import('fastify'),
      import('./upgrade.js'),
    ]);
    const { limits, lookup, health } = this.#options;
    const app = fastify({ forceCloseConnections: true });
    app.addHook('onRequest', async (request, reply) => {
      if (!isTrusted(request.headers.host, request.headers.origin))
        await reply.code(403).send({ error: 'this host or origin may not ask' });
    });
    app.get('/healthz', () => {
      const { machines, ...rest } = health();
      return { ...rest, machines: { count: machines.length, names: machines } };
    });
    this.#upgrades = new QmpUpgrades(lookup, limits['websocket-frame-bytes']);
    app.server.maxConnections = limits['http-connections'];
    app.server.on('upgrade', this.#upgrades.onUpgrade);
    return app;
  }
}
