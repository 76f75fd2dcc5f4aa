/** docs/kube-apiserver-health.md: which check the probes of the kubelet leave out, and that this suffices. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import {
  type EncryptionProvider,
  IDENTITY,
  kmsProvider,
} from '../servers/encryption-configuration.ts';
import { type Etcd, startEtcd } from '../servers/etcd.ts';
import { type KubeApiserver, startKubeApiserver } from '../servers/kube-apiserver.ts';
import { testFolder } from '../vault/vault-under-test.ts';
import { documentBlocks } from './document.ts';

type Probe = { readonly httpGet: { readonly path: string } };
type Pod = {
  readonly spec: {
    readonly containers: readonly [{ readonly livenessProbe: Probe; readonly startupProbe: Probe }];
  };
};

const PAGE = 'docs/kube-apiserver-health.md';
const folder = testFolder();
const absent = join(folder.path, 'no-plugin.sock');
/** Both names of the page's table, and what leads to each. */
const CASES: readonly (readonly [string, readonly EncryptionProvider[], string])[] = [
  ['KMS v2 alone', [kmsProvider('v2', absent), IDENTITY], 'kms-providers'],
  [
    'KMS v1 without reload',
    [kmsProvider('v1', absent), kmsProvider('v2', absent, { name: 'new' }), IDENTITY],
    'kms-provider-0',
  ],
];

describe('the health checks of kube-apiserver while no plugin answers', {
  timeout: 240_000,
}, () => {
  let etcd: Etcd;
  let api: KubeApiserver;
  before(async () => {
    const dir = folder.sub('servers');
    etcd = await startEtcd({ dir });
    api = await startKubeApiserver({
      dir,
      etcd: etcd.endpoint,
      featureGates: { KMSv1: true },
      waitFor: '/livez',
    });
  });
  after(async () => {
    await api?.stop();
    await etcd?.stop();
    folder.remove();
  });

  for (const [what, providers, check] of CASES) {
    it(`fail by ${check}, and are well without it: ${what}`, async () => {
      await api.restart(providers);
      const status = async (path: string): Promise<number> =>
        (await api.request('GET', path)).status;
      assert.equal(await status(`/healthz/${check}`), 500);
      assert.equal(await status('/readyz'), 500);
      const { livenessProbe, startupProbe } = probes();
      // From 1.29 on /livez has no KMS; /readyz has, and takes the same words.
      for (const { httpGet } of [livenessProbe, startupProbe]) {
        const [, query = ''] = httpGet.path.split('?');
        const excluded = new URLSearchParams(query).getAll('exclude');
        assert.ok(excluded.includes(check));
        const others = check === 'kms-provider-0' ? '&exclude=kms-provider-1' : '';
        assert.equal(await status(`${httpGet.path}${others}`), 200);
        assert.equal(await status(`/readyz?${query}${others}`), 200);
      }
    });
  }
});

function probes(): Pod['spec']['containers'][0] {
  const block = documentBlocks(PAGE).find(({ text }) => /^kind: Pod$/m.test(text));
  assert.ok(block);
  return (parse(block.text) as Pod).spec.containers[0];
}
