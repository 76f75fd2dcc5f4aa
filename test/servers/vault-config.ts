/** The configuration file of a Vault server that keeps its data in the test's folder. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './free-port.ts';
import type { VaultEndpoint } from './vault-admin.ts';

export type VaultStorage = 'file' | 'raft';

export type VaultTls = {
  readonly certFile: string;
  readonly keyFile: string;
  /** The authority of the server's certificate, and of the clients'. */
  readonly caFile: string;
  /** Default: false; the cert auth method needs no more than that a client may send one. */
  readonly requireClientCertificate?: boolean;
  /** For the admin client, where the server requires one. */
  readonly client?: { readonly certFile: string; readonly keyFile: string };
};

export type VaultConfigOptions = {
  readonly dir: string;
  readonly storage?: VaultStorage;
  readonly tls?: VaultTls;
  /** Its name among the nodes of a raft cluster. Default: node. */
  readonly nodeId?: string;
};

/** A single node elects itself in a second with the shortest of Raft's timeouts, else in twenty. */
const RAFT = { performance_multiplier: '1' };

/** Writes the file; answers it, and how the server will be reached. */
export async function writeVaultConfig(
  { dir, storage = 'file', tls, nodeId = 'node' }: VaultConfigOptions,
  port: number,
): Promise<{ readonly file: string; readonly endpoint: VaultEndpoint }> {
  const address = `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`;
  const clusterPort = await freePort();
  const path = join(dir, `vault-${port}-data`);
  mkdirSync(path, { recursive: true });
  const config = {
    disable_mlock: true,
    api_addr: address,
    // Counts requests, for the benchmark.
    telemetry: { prometheus_retention_time: '24h', disable_hostname: true },
    cluster_addr: `https://127.0.0.1:${clusterPort}`,
    storage: { [storage]: storage === 'raft' ? { path, node_id: nodeId, ...RAFT } : { path } },
    listener: {
      tcp: {
        address: `127.0.0.1:${port}`,
        cluster_address: `127.0.0.1:${clusterPort}`,
        ...listenerTls(tls),
      },
    },
  };
  const file = join(dir, `vault-${port}.json`);
  writeFileSync(file, JSON.stringify(config, undefined, 2));
  return { file, endpoint: { address, ...clientTls(tls) } };
}

function listenerTls(tls: VaultTls | undefined): Readonly<Record<string, unknown>> {
  if (tls === undefined) return { tls_disable: true };
  return {
    tls_cert_file: tls.certFile,
    tls_key_file: tls.keyFile,
    tls_client_ca_file: tls.caFile,
    tls_require_and_verify_client_cert: tls.requireClientCertificate ?? false,
  };
}

function clientTls(tls: VaultTls | undefined): Omit<VaultEndpoint, 'address'> {
  if (tls === undefined) return {};
  const ca = readFileSync(tls.caFile, 'utf8');
  if (tls.client === undefined) return { ca };
  return {
    ca,
    cert: readFileSync(tls.client.certFile, 'utf8'),
    key: readFileSync(tls.client.keyFile, 'utf8'),
  };
}
