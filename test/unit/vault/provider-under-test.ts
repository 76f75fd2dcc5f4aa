/** The Vault provider with its clock, its log and its secrets in a test's hands. */
import type { TestContext } from 'node:test';
import { silentLog } from '../../../src/observe/log.ts';
import type { Result } from '../../../src/providers/errors.ts';
import type { Provider } from '../../../src/providers/provider.ts';
import { createLoginMemory } from '../../../src/providers/vault/auth/login-memory.ts';
import {
  createVaultProvider,
  type VaultOptions,
} from '../../../src/providers/vault/vault-provider.ts';
import { createDrivenClock, type DrivenClock } from '../driven-clock.ts';
import { type FakeVault, startFakeVault } from './fake-vault.ts';

export type ProviderUnderTest = {
  readonly vault: FakeVault;
  readonly provider: Provider;
  readonly clock: DrivenClock;
  /** What the files hold, by their place; may be changed. */
  readonly secrets: Map<string, string>;
};

/** A provider that speaks to a fake Vault of its own, and to `more`, logging in by AppRole; both end with the test. */
export async function startProvider(
  t: TestContext,
  { more = [], ...options }: Partial<VaultOptions> & { more?: readonly FakeVault[] } = {},
): Promise<ProviderUnderTest> {
  const vault = await startFakeVault(t);
  const clock = createDrivenClock(1_800_000_000_000);
  const secrets = new Map([['/secret-id', 'a-secret-id']]);
  const settings: VaultOptions = {
    addresses: [vault, ...more].map(({ address }) => address),
    mount: 'transit',
    key: 'kubernetes',
    tls: {},
    allowPlainHTTP: false,
    requestTimeout: 2_000,
    hedge: false,
    auth: {
      appRole: {
        mount: 'approle',
        roleID: 'a-role-id',
        secretIDFile: '/secret-id',
        secretIDWrapped: false,
      },
    },
    ...options,
  };
  const provider = createVaultProvider('vault', settings, {
    log: silentLog,
    env: {},
    clock,
    readSecret: async (place) => secrets.get(place) ?? '',
    logins: createLoginMemory(clock),
  });
  t.after(() => provider.stop());
  return { vault, provider, clock, secrets };
}

/** A signal that nobody aborts. */
export const patient = (): AbortSignal => new AbortController().signal;

export const bytes = (text: string): Uint8Array => Buffer.from(text);

/** Each result in a word: what was decrypted, or the kind of the error. */
export function said(results: readonly Result<Uint8Array>[]): readonly string[] {
  return results.map((result) =>
    result.ok ? Buffer.from(result.value).toString() : `error: ${result.error.kind}`,
  );
}
