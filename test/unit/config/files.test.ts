/** What `config check` says of the dates of the certificates that a configuration names. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { rootCertificates } from 'node:tls';
import { checkFiles } from '../../../src/config/files.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const DAY_MS = 86_400_000;

type Dated = { readonly pem: string; readonly from: number; readonly to: number };

const dated = rootCertificates.map((pem): Dated => {
  const { validFrom, validTo } = new X509Certificate(pem);
  return { pem, from: Date.parse(validFrom), to: Date.parse(validTo) };
});
const pick = (better: (one: Dated, other: Dated) => boolean): Dated =>
  dated.reduce((best, one) => (better(one, best) ? one : best));
const firstToEnd = pick((one, other) => one.to < other.to);
const lastToEnd = pick((one, other) => one.to > other.to);
const lastToBegin = pick((one, other) => one.from > other.from);
const firstToBegin = pick((one, other) => one.from < other.from);

const iso = (time: number): string => new Date(time).toISOString();
const expired = `expired on ${iso(firstToEnd.to)}`;
const early = `is not valid before ${iso(lastToBegin.from)}`;

type Said = 'nothing' | readonly ['warning' | 'error', ...words: string[]];
type Row = readonly [what: string, pems: readonly Dated[], now: number, said: Said];

const ROWS: readonly Row[] = [
  ['valid', [firstToEnd], firstToEnd.to - DAY_MS, 'nothing'],
  ['valid on its last second', [firstToEnd], firstToEnd.to, 'nothing'],
  ['all valid', [firstToEnd, lastToEnd], firstToEnd.to - DAY_MS, 'nothing'],
  [
    'expired beside a valid one',
    [firstToEnd, lastToEnd],
    firstToEnd.to + DAY_MS,
    ['warning', 'certificate 1 of 2 (', `) ${expired}; by this`, iso(firstToEnd.to + DAY_MS)],
  ],
  [
    'not yet valid beside a valid one',
    [firstToBegin, lastToBegin],
    lastToBegin.from - DAY_MS,
    ['warning', 'certificate 2 of 2 (', `) ${early}; by this machine's clock`],
  ],
  [
    'expired, the only one',
    [firstToEnd],
    firstToEnd.to + DAY_MS,
    ['error', 'it holds no certificate that is valid now: certificate 1 of 1 (', `) ${expired}`],
  ],
  [
    'not yet valid, the only one',
    [lastToBegin],
    0,
    ['error', 'no certificate that is valid', early],
  ],
  ['all expired, and many', dated, Date.UTC(2200), ['error', 'Z, certificate 2 of', ' more; by']],
];

const configWith = (tls: object): string =>
  JSON.stringify({
    apiVersion: 'trousseau.io/v1',
    kind: 'KMSPluginConfiguration',
    providers: [
      {
        name: 'vault',
        vault: {
          addresses: ['https://vault.example:8200'],
          key: 'kubernetes',
          tls,
          auth: { token: { tokenFile: 'credential:token' } },
        },
      },
    ],
  });

async function findingsOf(tls: object, now: number) {
  const loaded = loadConfig(configWith(tls), 'config.yaml', {});
  assert.ok(loaded.ok);
  const findings = await checkFiles(loaded.config, undefined, now);
  return findings.map(({ path, severity, message }) => ({ field: path.at(-1), severity, message }));
}

describe('certificates by their dates', () => {
  for (const [what, pems, now, said] of ROWS) {
    it(`of an authority file, ${what}: ${said === 'nothing' ? said : said[0]}`, async (t) => {
      const caFile = join(temporaryFolder(t), 'ca.pem');
      writeFileSync(caFile, pems.map(({ pem }) => pem).join('\n'));
      const findings = await findingsOf({ caFile }, now);
      if (said === 'nothing') return assert.deepEqual(findings, []);
      const [severity, ...words] = said;
      assert.deepEqual(
        findings.map((one) => [one.field, one.severity]),
        [['caFile', severity]],
      );
      for (const word of [`${caFile}: `, ...words])
        assert.ok(findings[0]?.message.includes(word), `${word}\n${findings[0]?.message}`);
    });

    it(`of the plugin's own, ${what}: ${said === 'nothing' ? said : 'warning'}`, async (t) => {
      const folder = temporaryFolder(t);
      const [certFile, keyFile] = [join(folder, 'client.pem'), join(folder, 'client.key')];
      writeFileSync(certFile, pems.map(({ pem }) => pem).join('\n'), { mode: 0o640 });
      writeFileSync(keyFile, '', { mode: 0o600 });
      const findings = await findingsOf({ certFile, keyFile }, now);
      assert.deepEqual(
        findings.map((one) => [one.field, one.severity]),
        said === 'nothing' ? [] : [['certFile', 'warning']],
      );
    });
  }

  it("of the plugin's own in the file of its key are not read", async (t) => {
    const both = join(temporaryFolder(t), 'both.pem');
    writeFileSync(both, firstToEnd.pem, { mode: 0o600 });
    assert.deepEqual(await findingsOf({ certFile: both, keyFile: both }, Date.UTC(2200)), []);
    chmodSync(both, 0o604);
    const [found] = await findingsOf({ certFile: both, keyFile: both }, Date.UTC(2200));
    assert.match(found?.message ?? '', /if the secret is in it, chmod o= /);
  });
});
