/** Who may talk to us over HTTP: programs on this machine, and pages that we served ourselves. */

const LOOPBACK_NAMES: readonly string[] = ['localhost', '[::1]', '::1'];
const LOOPBACK_V4 = /^127(\.[0-9]{1,3}){3}$/;

/** True for a host name or address that never leaves this machine. */
export const isLoopback = (host: string): boolean =>
  LOOPBACK_NAMES.includes(host.toLowerCase()) || LOOPBACK_V4.test(host);

const parse = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined);

/**
 * True when a request may be served: it names a loopback host (so that no foreign name is bound to
 * our address), and if a browser sent it, its page has the same port on a loopback host.
 *
 * @param host the Host header
 * @param origin the Origin header; browsers always send it with an upgrade
 */
export const isTrusted = (host: string | undefined, origin: string | undefined): boolean => {
  const asked = host === undefined ? undefined : parse(`http://${host}`);
  if (asked === undefined || !isLoopback(asked.hostname)) return false;
  if (origin === undefined) return true;
  const page = parse(origin);
  return page?.protocol === 'http:' && isLoopback(page.hostname) && page.port === asked.port;
};
