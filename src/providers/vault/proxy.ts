/** Which HTTP CONNECT proxy leads to an address: the configured one, or the environment's. */

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy's URL, or undefined for the direct way. HTTPS_PROXY and NO_PROXY are read as curl reads
 * them; loopback is never proxied by the environment, as Go's net/http has it.
 */
export function proxyFor(
  address: string,
  configured: string | undefined,
  env: Environment,
): string | undefined {
  if (configured !== undefined) return configured;
  const { hostname, protocol, port } = new URL(address);
  if (protocol !== 'https:') return undefined;
  const proxy = env['HTTPS_PROXY'] ?? env['https_proxy'];
  if (proxy === undefined || proxy === '') return undefined;
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || host === '::1' || host.startsWith('127.')) return undefined;
  const exceptions = (env['NO_PROXY'] ?? env['no_proxy'] ?? '')
    .split(',')
    .map((entry) => entry.trim().toLowerCase());
  if (exceptions.some((entry) => isExcepted(entry, host, port || '443'))) return undefined;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

/** `*`, a name that stands for itself and all below it, or either with a port. */
function isExcepted(entry: string, host: string, port: string): boolean {
  if (entry === '') return false;
  if (entry === '*') return true;
  const [, name = '', entryPort] = /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(entry) ?? [];
  if (entryPort !== undefined && entryPort !== port) return false;
  const suffix = name.replace(/^\*?\./, '');
  return host === suffix || host.endsWith(`.${suffix}`);
}
