/** Which HTTP CONNECT proxy leads to an address: the configured one, or the environment's. */
import { BlockList, isIP } from 'node:net';

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
  const proxy = env['HTTPS_PROXY'] || env['https_proxy'];
  if (proxy === undefined || proxy === '') return undefined;
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (host === 'localhost' || host === '::1' || host.startsWith('127.')) return undefined;
  const exceptions = (env['NO_PROXY'] || env['no_proxy'] || '')
    .split(',')
    .map((entry) => entry.trim().toLowerCase());
  if (exceptions.some((entry) => isExcepted(entry, host, port || '443'))) return undefined;
  return proxy.includes('://') ? proxy : `http://${proxy}`;
}

/** `*`, a network, a name that stands for itself and all below it, or an address; with a port at will. */
function isExcepted(entry: string, host: string, port: string): boolean {
  if (entry === '') return false;
  if (entry === '*') return true;
  if (isIP(entry) !== 0) return host === entry;
  if (entry.includes('/')) return isWithin(entry, host);
  const [, name = '', entryPort] = /^\[?([^\]]*?)\]?(?::(\d+))?$/.exec(entry) ?? [];
  if (entryPort !== undefined && entryPort !== port) return false;
  const suffix = name.replace(/^\*?\./, '');
  return host === suffix || host.endsWith(`.${suffix}`);
}

/** Whether an address lies in a network such as `10.0.0.0/8`. */
function isWithin(network: string, host: string): boolean {
  const [address = '', bits = ''] = network.split('/');
  const version = isIP(address);
  if (version === 0 || isIP(host) !== version) return false;
  if (!/^\d{1,3}$/.test(bits) || Number(bits) > (version === 4 ? 32 : 128)) return false;
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const list = new BlockList();
  list.addSubnet(address, Number(bits), family);
  return list.check(host, family);
}
