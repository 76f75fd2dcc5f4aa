import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { rootCertificates } from 'node:tls';
import { readTlsFiles } from '../../../src/providers/vault/tls-files.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const [one = '', two = ''] = rootCertificates;
const KEY = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n';
const auth = { token: { tokenFile: '/token' } };

describe('an authority file', () => {
  /** What the file holds, and what is trusted: the text, or why nothing is. */
  const table: readonly (readonly [string, string, 'trusted' | RegExp])[] = [
    ['one certificate', one, 'trusted'],
    ['two certificates', `${one}\n${two}`, 'trusted'],
    ['a comment before each certificate', `# first\n${one}\n# second\n${two}`, 'trusted'],
    ['line ends of Windows', one.replaceAll('\n', '\r\n'), 'trusted'],
    ['nothing', '', /holds no certificate/],
    ['blanks', ' \n\n', /holds no certificate/],
    ['a byte order mark', '\ufeff', /holds no certificate/],
    ['a private key', KEY, /holds no certificate/],
    ['a page of a login form', '<html>log in</html>', /holds no certificate/],
    ['half of a certificate', one.slice(0, one.length / 2), /has no end/],
    ['one and a half certificates', `${one}\n${two.slice(0, 300)}`, /one of its 2 .* no end/],
    [
      'a certificate and a damaged one',
      `${one}\n${two.replace(/\nMII./, '\nAAAA')}`,
      /certificate 2 of 2 cannot be read/,
    ],
  ];
  for (const [what, content, expected] of table) {
    const result = expected === 'trusted' ? 'is trusted as it is' : 'is an error';
    it(`with ${what} ${result}`, async (t) => {
      const caFile = join(temporaryFolder(t), 'ca.pem');
      writeFileSync(caFile, content);
      const read = await readTlsFiles({ tls: { caFile }, auth }, async () => '');
      if (expected === 'trusted') {
        assert.deepEqual(read, { ok: true, value: { ca: content } });
        return;
      }
      assert.ok(!read.ok);
      assert.equal(read.error.kind, 'denied');
      assert.match(read.error.message, expected);
      assert.ok(read.error.message.includes(`tls.caFile ${caFile}`), read.error.message);
    });
  }

  it('that is not there is an error which may pass, and names file and field', async () => {
    const read = await readTlsFiles({ tls: { caFile: '/none/ca.pem' }, auth }, async () => '');
    assert.ok(!read.ok);
    assert.equal(read.error.kind, 'unavailable');
    assert.match(read.error.message, /tls\.caFile \/none\/ca\.pem: it does not exist/);
  });
});

describe('the authorities of the machine', () => {
  const rows: readonly (readonly [string, string, boolean, boolean])[] = [
    ['https and no caFile', 'https://vault.example', false, true],
    ['https and a caFile', 'https://vault.example', true, false],
    ['http', 'http://127.0.0.1:8200', false, false],
  ];
  for (const [what, address, hasFile, areRead] of rows) {
    it(`are ${areRead ? '' : 'not '}read where there is ${what}`, async (t) => {
      const dir = temporaryFolder(t);
      const [caFile, bundle] = [join(dir, 'ca.pem'), join(dir, 'bundle.pem')];
      writeFileSync(caFile, one);
      writeFileSync(bundle, two);
      const settings = { tls: hasFile ? { caFile } : {}, auth, addresses: [address] };
      const env = { SSL_CERT_FILE: bundle, SSL_CERT_DIR: join(dir, 'none') };
      const read = await readTlsFiles(settings, async () => '', env);
      assert.ok(read.ok);
      assert.equal(read.value.machine?.trim(), areRead ? two.trim() : undefined);
    });
  }
});

describe('a client certificate', () => {
  const files = { certFile: '/c.pem', keyFile: '/k.pem' };
  const sections = [
    ['tls', { tls: files, auth }],
    ['auth.cert', { tls: {}, auth: { cert: { mount: 'cert', ...files } } }],
  ] as const;
  for (const [section, settings] of sections) {
    for (const [what, cert, key] of [
      ['that is empty', '', KEY],
      ['without its key', one, ''],
      ['with the key of another', one, KEY],
    ] as const) {
      it(`of ${section} ${what} is an error that names the field, not a connection without one`, async () => {
        const read = await readTlsFiles(settings, async (place) =>
          place === '/c.pem' ? cert : key,
        );
        assert.ok(!read.ok);
        assert.match(read.error.message, new RegExp(`${section}\\.certFile /c\\.pem: `));
      });
    }
  }
});
