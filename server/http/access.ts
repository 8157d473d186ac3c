import { createHash, timingSafeEqual } from 'node:crypto';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { openFailure } from '../transport/reason.js';
import { isTrusted } from './origin.js';

/** Longer files hold something else. */
const MAX_TOKEN_BYTES = 4096;
const MIN_TOKEN = 16;
/** RFC 6750 §2.1 b64token. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

const readSmall = (path: string): { mode: number; text: string } => {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(MAX_TOKEN_BYTES + 1);
    const length = readSync(fd, bytes, 0, bytes.length, null);
    return { mode: fstatSync(fd).mode, text: bytes.toString('latin1', 0, length) };
  } finally {
    closeSync(fd);
  }
};

/**
 * Reads the secret that clients must show.
 *
 * @param origin what errors call the file
 * @throws Error naming the origin and what is wrong with the file; never its content
 */
export const readTokenFile = (path: string, origin: string): string => {
  let found: { mode: number; text: string };
  try {
    found = readSmall(path);
  } catch (error) {
    throw new Error(`${origin}: ${openFailure(path, error)}`, { cause: error });
  }
  const fail = (problem: string): Error => new Error(`${origin}: ${problem}`);
  if ((found.mode & 0o077) !== 0)
    throw fail(
      `mode ${(found.mode & 0o777).toString(8).padStart(4, '0')} lets others read or change it, chmod 600 does not`,
    );
  const token = found.text.trim();
  if (token.length < MIN_TOKEN || token.length > MAX_TOKEN_BYTES)
    throw fail(`the token must have ${String(MIN_TOKEN)} to ${String(MAX_TOKEN_BYTES)} characters`);
  if (!TOKEN.test(token))
    throw fail('the token may have letters, digits and ._~+/- only, and = at its end');
  return token;
};

/** Why a request is not served. */
export interface Refusal {
  readonly status: 401 | 403;
  readonly reason: string;
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest();

/** Decides who may ask: whoever shows the token, or without one, programs and pages of this host. */
export class Access {
  readonly #expected: Buffer | undefined;

  /** @param token undefined: nobody needs one, and only loopback names are answered */
  constructor(token?: string) {
    this.#expected = token === undefined ? undefined : digest(token);
  }

  get needsToken(): boolean {
    return this.#expected !== undefined;
  }

  /** A page or an upgrade: the token is in the header `Authorization: Bearer TOKEN`. */
  check(request: Pick<IncomingMessage, 'headers'>): Refusal | undefined {
    const { headers } = request;
    if (this.#expected === undefined)
      return isTrusted(headers.host, headers.origin)
        ? undefined
        : { status: 403, reason: 'this host or origin may not ask' };
    return this.#compare(/^bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1]);
  }

  /** An upgrade: browsers cannot set headers there, so `?token=` is as good. */
  checkUpgrade(
    request: Pick<IncomingMessage, 'headers'>,
    query: URLSearchParams,
  ): Refusal | undefined {
    const token = query.get('token');
    return token === null || this.#expected === undefined
      ? this.check(request)
      : this.#compare(token);
  }

  /** In the same time for every wrong token. */
  #compare(token: string | undefined): Refusal | undefined {
    if (token === undefined)
      return { status: 401, reason: 'a token is needed: Authorization: Bearer TOKEN' };
    const isRight = this.#expected !== undefined && timingSafeEqual(digest(token), this.#expected);
    return isRight ? undefined : { status: 401, reason: 'the token is wrong' };
  }
}
