/** Connections to one server, direct or through an HTTP CONNECT proxy, as undici makes them. */

import { existsSync } from 'node:fs';
import type { LookupFunction } from 'node:net';
import { getCACertificates } from 'node:tls';
import { type Dispatcher, Pool } from 'undici';
import type { VaultConfig } from '../../config/schema.ts';
import type { Clock } from '../../system/clock.ts';
import { proxyFor } from '../../system/proxy.ts';
import { createConnector } from './connector.ts';
import type { Names } from './names.ts';

/** PEM, as read from the files of the configuration. */
export type TlsMaterial = {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The authorities of the machine, where no file names others. */
  readonly machine?: string;
};

/** One server: a URL of the configuration, and which of the addresses behind its name. */
export type Target = {
  readonly url: string;
  /** Undefined where the name has one address, or where a proxy looks it up. */
  readonly ip: string | undefined;
};

export type DispatcherOptions = {
  readonly target: Target;
  readonly config: Pick<VaultConfig, 'tls' | 'proxy' | 'requestTimeout'>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly tls: TlsMaterial;
  readonly names: Pick<Names, 'forConnections'>;
  readonly clock: Clock;
};

/** As many requests as both batchers have under way at most, and a few of the watcher's. */
const CONNECTIONS = 36;
/** Vault's listener closes idle connections after five minutes. */
const KEEP_ALIVE_MS = 60_000;

/** A dispatcher that has opened no connection yet. */
export function createDispatcher(options: DispatcherOptions): Dispatcher {
  const { target, config, env, tls, names, clock } = options;
  const { ip, url } = target;
  const proxy = proxyFor(url, config.proxy, env);
  const { serverName } = config.tls;
  const { protocol, origin } = new URL(url);
  const { ca, cert, key, machine } = tls;
  const connect = createConnector({
    tls: {
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      // A file of one's own does not add to the authorities that the system trusts: it replaces them.
      ca: ca === undefined ? authoritiesFor(protocol, machine) : [ca],
      ...(serverName === undefined ? {} : { servername: serverName }),
    },
    proxy: proxy === undefined ? undefined : { url: proxy, ca: authoritiesOfProxies(ca, machine) },
    lookup: ip === undefined ? names.forConnections : always(ip),
    limitMs: config.requestTimeout,
    clock,
  });
  return new Pool(origin, {
    connect,
    connections: CONNECTIONS,
    // One request on each connection: a connection that hangs holds up one batch, not all.
    pipelining: 1,
    allowH2: false,
    keepAliveTimeout: KEEP_ALIVE_MS,
    // The time-out of the whole request is ours, and finer than undici's clock of a second.
    headersTimeout: 0,
    bodyTimeout: 0,
  });
}

/** A proxy's certificate may be of either: that it opens the way says nothing of Vault. */
function authoritiesOfProxies(
  ca: string | undefined,
  machine: string | undefined,
): readonly string[] {
  return [...(ca === undefined ? [] : [ca]), ...systemAuthorities(machine)];
}

/** None where there is no TLS: reading those of the system takes ten megabytes. */
function authoritiesFor(protocol: string, machine: string | undefined): readonly string[] {
  return protocol === 'https:' ? systemAuthorities(machine) : [];
}

function systemAuthorities(machine: string | undefined): readonly string[] {
  if (machine !== undefined && machine !== '') return [machine];
  // Where OpenSSL's folder is not there, Node would write a line of its own to stderr.
  const folder = process.env['SSL_CERT_DIR'] ?? '/etc/ssl/certs';
  const ofMachine = existsSync(folder) ? getCACertificates('system') : [];
  return ofMachine.length > 0 ? ofMachine : getCACertificates('bundled');
}

/** The name stays what certificates are checked against; only the way to it is fixed. */
export function always(ip: string): LookupFunction {
  const family = ip.includes(':') ? 6 : 4;
  return (_hostname, { all }, callback) => {
    if (all === true) callback(null, [{ address: ip, family }]);
    else callback(null, ip, family);
  };
}
