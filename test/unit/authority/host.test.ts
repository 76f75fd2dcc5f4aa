import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  isAllowedInAuthority,
  isMendedAuthority,
  substituteFor,
} from '../../../src/kms/authority/host.ts';
import { APPENDIX_B } from './rfc7541.ts';

const codeLength = (character: string) => APPENDIX_B[character.charCodeAt(0)]?.length;

describe('the authority as the server sees it', () => {
  for (const [sent, host] of [
    ['/var/run/kms.sock', '.var.run.kms.sock'],
    ['@kms', '$kms'],
    ['unix:///var/run/kms.sock', 'unix:...var.run.kms.sock'],
    ['/', '.'],
  ] as const) {
    it(`was the path of a socket: ${sent} arrives as ${host}`, () => {
      const arrived = Buffer.from(sent).map((byte) =>
        isAllowedInAuthority(byte) ? byte : substituteFor(byte),
      );
      assert.equal(Buffer.from(arrived).toString(), host);
      assert.equal(isMendedAuthority(host), true);
    });
  }

  for (const host of ['localhost', '%2Fvar%2Frun%2Fkms.sock', 'kms.example:443', '[::1]:1', '']) {
    it(`was not the path of a socket: ${host || 'nothing'}`, () => {
      assert.equal(isMendedAuthority(host), false);
    });
  }
});

describe('what takes the place of a refused character', () => {
  it('is allowed, for every byte', () => {
    for (let byte = 0; byte < 256; byte++) {
      if (!isAllowedInAuthority(byte)) assert.ok(isAllowedInAuthority(substituteFor(byte)));
    }
  });

  it('has a code of the same length, for those that paths are made of', () => {
    for (const character of '/ @"?|') {
      const substitute = String.fromCharCode(substituteFor(character.charCodeAt(0)));
      assert.equal(codeLength(character), codeLength(substitute), character);
    }
  });
});
