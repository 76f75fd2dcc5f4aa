/** Which HTTP CONNECT proxy leads to an address: the configured one, or the environment's. */
import { BlockList, isIP } from 'node:net';

type Environment = Readonly<Record<string, string | undefined>>;

/** Where a connection to Vault goes first, and who said so: for the operator's eyes. */
export type ProxyChoice = { readonly url: string; readonly from: string };

/** The proxy's URL, or undefined for the direct way: see {@link proxyChoice}. */
export function proxyFor(
  address: string,
  configured: string | undefined,
  env: Environment,
): string | undefined {
  return proxyChoice(address, configured, env)?.url;
}

/**
 * HTTPS_PROXY and NO_PROXY are read as curl reads them; loopback is never proxied by the environment,
 * as Go's net/http has it. Plain http to loopback is proxied by nothing: it is allowed because it
 * does not leave this host.
 */
export function proxyChoice(
  address: string,
  configured: string | undefined,
  env: Environment,
): ProxyChoice | undefined {
  const { hostname, protocol, port } = new URL(address);
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const isLoopback = host === 'localhost' || host === '::1' || host.startsWith('127.');
  if (isLoopback && protocol === 'http:') return undefined;
  if (configured !== undefined) return { url: configured, from: 'proxy' };
  if (protocol !== 'https:' || isLoopback) return undefined;
  const from = env['HTTPS_PROXY'] ? 'HTTPS_PROXY' : 'https_proxy';
  const url = env[from];
  if (url === undefined || url === '') return undefined;
  const exceptions = (env['NO_PROXY'] || env['no_proxy'] || '').toLowerCase().split(/[\s,]+/);
  if (exceptions.some((entry) => isExcepted(entry, host, port || '443'))) return undefined;
  return { url: url.includes('://') ? url : `http://${url}`, from };
}

/** A proxy as it may be shown: without the user and the password. */
export function shownProxy(url: string): string {
  const { protocol, host } = new URL(url);
  return `${protocol}//${host}`;
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
