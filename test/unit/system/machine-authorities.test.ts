/** The authorities that the machine trusts, which may be other ones from one read to the next. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { rootCertificates } from 'node:tls';
import { readMachineAuthorities } from '../../../src/system/machine-authorities.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const [one = '', two = '', three = ''] = rootCertificates.map((root) => root.trim());
const DAMAGED = one.replace(/\nMII./, '\nAAAA');

function machine(t: TestContext) {
  const dir = temporaryFolder(t);
  const [folder, other, file] = [join(dir, 'certs'), join(dir, 'more'), join(dir, 'bundle.pem')];
  mkdirSync(folder);
  mkdirSync(other);
  const env = { SSL_CERT_FILE: file, SSL_CERT_DIR: `${folder}:${other}` };
  const trusted = async (): Promise<readonly string[]> => {
    const pem = await readMachineAuthorities(env);
    return [one, two, three].filter((root) => pem.includes(root));
  };
  return { folder, other, file, trusted, read: () => readMachineAuthorities(env) };
}

describe('the authorities of the machine', () => {
  const table: readonly (readonly [
    string,
    (places: ReturnType<typeof machine>) => void,
    readonly string[],
  ])[] = [
    ['in the file', ({ file }) => writeFileSync(file, `${one}\n# ours\n${two}\n`), [one, two]],
    ['in a folder', ({ folder }) => writeFileSync(join(folder, 'a.crt'), one), [one]],
    [
      'in several folders',
      ({ folder, other }) => {
        writeFileSync(join(folder, 'a.crt'), one);
        writeFileSync(join(other, '1234abcd.0'), three);
      },
      [one, three],
    ],
    [
      'beside a file that is damaged, a folder, and a link to nothing',
      ({ folder, file }) => {
        writeFileSync(file, two);
        writeFileSync(join(folder, 'damaged.pem'), DAMAGED);
        writeFileSync(join(folder, 'notes'), 'no certificate');
        mkdirSync(join(folder, 'java'));
        symlinkSync('/none', join(folder, 'link.0'));
        symlinkSync('damaged.pem', join(folder, 'link.1'));
      },
      [two],
    ],
    [
      'behind links, within the folder and out of it,',
      ({ folder, other }) => {
        writeFileSync(join(other, 'elsewhere.crt'), one);
        writeFileSync(join(folder, 'here.crt'), three);
        symlinkSync('here.crt', join(folder, '1234abcd.0'));
        symlinkSync(join(other, 'elsewhere.crt'), join(folder, 'out.crt'));
      },
      [one, three],
    ],
    ['where there are none', () => undefined, []],
  ];
  for (const [where, lay, expected] of table) {
    it(`${where} are those that can be read`, async (t) => {
      const places = machine(t);
      lay(places);
      assert.deepEqual(await places.trusted(), expected);
    });
  }

  it('are the same text in whatever order and how often the files have them', async (t) => {
    const { folder, file, read } = machine(t);
    writeFileSync(file, `${one}\n${two}`);
    const before = await read();
    writeFileSync(file, `${two}\n${one}\n${two}`);
    writeFileSync(join(folder, 'again.pem'), one);
    assert.equal(await read(), before);
  });

  it('are read again each time', async (t) => {
    const { folder, file, trusted } = machine(t);
    writeFileSync(file, one);
    assert.deepEqual(await trusted(), [one]);
    writeFileSync(join(folder, 'new.crt'), two);
    assert.deepEqual(await trusted(), [one, two]);
    rmSync(file);
    assert.deepEqual(await trusted(), [two]);
  });
});
