/** A real Vault Agent or Vault Proxy with a cache, as an administrator puts it on a node before Vault. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { testServers } from '../../scripts/test-servers/binaries.ts';
import { freePort } from './free-port.ts';
import { jsonRequest } from './json-request.ts';
import { startServer } from './process.ts';
import type { VaultRelease } from './vault.ts';

const START_MS = 15_000;

export type VaultAgentOptions = {
  readonly release: VaultRelease;
  /** `proxy` from 1.14 on. */
  readonly kind: 'agent' | 'proxy';
  /** The test's own folder, for configuration and log. */
  readonly dir: string;
  /** Where its requests go. */
  readonly vault: string;
};

export type VaultAgent = AsyncDisposable & { readonly address: string };

/** Starts one that caches what the tokens of its clients bring, and has none of its own. */
export async function startVaultAgent(options: VaultAgentOptions): Promise<VaultAgent> {
  const { release, kind, dir, vault } = options;
  const port = await freePort();
  const address = `http://127.0.0.1:${port}`;
  const file = join(dir, `${kind}.hcl`);
  writeFileSync(
    file,
    `vault { address = "${vault}" }
cache {}
listener "tcp" {
  address     = "127.0.0.1:${port}"
  tls_disable = true
}
`,
  );
  const running = await startServer(
    {
      program: testServers()[`vault-${release}`],
      args: [kind, `-config=${file}`],
      env: { HOME: dir },
      logFile: join(dir, `${kind}.log`),
    },
    START_MS,
    async (signal) => {
      const url = `${address}/v1/sys/health`;
      return (await jsonRequest({ method: 'GET', url, signal })).status === 200;
    },
  );
  return { address, [Symbol.asyncDispose]: running.stop };
}
