/** What docs/operations.md shows of `/readyz` is what the plugin answers. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readinessOf } from '../../../src/cli/readiness.ts';
import type { AnnouncedKey } from '../../../src/keyring/state.ts';
import { blocksOf, rowsOf } from './markdown.ts';

const text = readFileSync(join(import.meta.dirname, '../../../docs/operations.md'), 'utf8');
const VERSION = { version: 1, createdAt: 0 };
const KEY: AnnouncedKey = {
  keyId: 'vault:v1:274fbc8c540881f8e730e972a46ac700' as AnnouncedKey['keyId'],
  version: 1,
  description: {
    path: ['vault', 'transit', 'kubernetes'],
    versions: [VERSION],
    current: VERSION,
    minDecryptionVersion: 1,
    facts: { type: 'aes256-gcm', deletable: false, exportable: false },
  },
};
const WHY =
  'reading the key transit/kubernetes: cannot reach http://127.0.0.1:44035: ECONNREFUSED: nothing listens there';
const OBSERVED: Parameters<typeof readinessOf>[0] = {
  state: { kind: 'outage', key: KEY, since: 7_000, why: { kind: 'unavailable', message: WHY } },
  now: 10_000,
  reload: undefined,
  reloadRequests: 0,
  readers: [],
  loaded: [],
  queued: 0,
  lost: undefined,
  failedCalls: [],
  cancelledCalls: 0,
  connections: { open: 1, sessions: 1, calls: 0 },
  decryptCache: undefined,
};

describe('the page on operations', () => {
  it('shows an answer of an outage with every field, in their order', () => {
    const [example] = blocksOf(text).filter(({ language }) => language === 'json');
    const { detail } = readinessOf(OBSERVED);
    assert.equal(example?.text.trim(), JSON.stringify({ status: 'not ready', ...detail }));
  });

  it('explains every field that an answer may have', () => {
    const rows = rowsOf(text, ['field', 'meaning']);
    const explained = rows.flatMap(([fields = '']) => fields.match(/\w+/g) ?? []);
    const { detail } = readinessOf({
      ...OBSERVED,
      reload: { at: '2026-11-24T03:00:00.000Z', ok: true, requests: 1 },
      readers: [
        {
          provider: 'old',
          error: { kind: 'denied', message: 'no policy allows it' },
          since: 1_000,
        },
      ],
      lost: 'its path is gone',
      failedCalls: [{ call: 'encrypt', reason: 'unavailable', keyVersion: '1', count: 1 }],
      cancelledCalls: 1,
      decryptCache: { entries: 1, seeds: true },
    });
    const missing = Object.keys(detail).filter((field) => !explained.includes(field));
    assert.deepEqual(missing, []);
    for (const field of ['status', 'instead']) assert.ok(explained.includes(field), field);
  });
});
