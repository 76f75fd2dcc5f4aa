import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { codeOf, mendHuffman } from '../../../src/kms/authority/huffman.ts';
import { APPENDIX_B, huffmanDecode, huffmanEncode } from './rfc7541.ts';

const ALLOWED = "!$%&'()*+,-.:;=[]_~0129ABYZabyz";
const MENDABLE = '/@ "?|';

describe('the Huffman table', () => {
  it('is that of RFC 7541, appendix B', () => {
    for (const [symbol, code] of APPENDIX_B.entries()) assert.deepEqual(codeOf(symbol), code);
    assert.equal(APPENDIX_B.length, 257);
  });

  it('leaves no sequence of bits without a meaning', () => {
    const kraft = APPENDIX_B.reduce((sum, _, symbol) => sum + 2 ** -codeOf(symbol).length, 0);
    assert.equal(kraft, 1);
  });
});

describe('mending a Huffman-coded authority', () => {
  for (const [sent, mended] of [
    ['/var/run/kms.sock', '.var.run.kms.sock'],
    ['@kms', '$kms'],
    ['unix:///run/kms provider/kms.sock', 'unix:...run.kms.provider.kms.sock'],
    ['/a?b|c"d', '.a!b+c!d'],
  ] as const) {
    it(`makes ${sent} into ${mended}`, () => {
      const bytes = huffmanEncode(sent);
      assert.equal(mendHuffman(bytes), 'mended');
      assert.deepEqual(bytes, huffmanEncode(mended));
    });
  }

  for (const [what, hex] of [
    ['nothing', ''],
    [
      'a symbol without a substitute of its length (/run/#)',
      huffmanEncode('/run/#').toString('hex'),
    ],
    ['a byte beyond ASCII (/\\xe9)', huffmanEncode('/\xe9').toString('hex')],
    ['padding of zeros', '60'],
    ['a whole byte of padding (&)', 'f8ff'],
    ['EOS', 'ffffffff'],
    ['half a symbol', 'fffe'],
  ] as const) {
    it(`leaves as it came: ${what}`, () => {
      const bytes = Buffer.from(hex, 'hex');
      assert.equal(mendHuffman(bytes), 'refused');
      assert.equal(bytes.toString('hex'), hex);
    });
  }

  it('takes www.example.com of RFC 7541, C.4.1, as it is', () => {
    const bytes = Buffer.from('f1e3c2e5f23a6ba0ab90f4ff', 'hex');
    assert.equal(mendHuffman(bytes), 'good');
    assert.equal(huffmanDecode(bytes), 'www.example.com');
  });

  it('keeps the length of the code and of the text, whatever the text', () => {
    const characters = fc.constantFrom(...`${ALLOWED}${MENDABLE}`);
    const texts = fc.string({ unit: characters, minLength: 1, maxLength: 120 });
    fc.assert(
      fc.property(texts, (text) => {
        const bytes = huffmanEncode(text);
        const before = bytes.length;
        const bad = [...text].some((character) => MENDABLE.includes(character));
        assert.equal(mendHuffman(bytes), bad ? 'mended' : 'good');
        const decoded = huffmanDecode(bytes);
        assert.equal(bytes.length, before);
        assert.equal(decoded.length, text.length);
        for (const [i, character] of [...text].entries()) {
          if (ALLOWED.includes(character)) assert.equal(decoded[i], character);
          else assert.ok(ALLOWED.includes(decoded[i] ?? ''));
        }
      }),
      { numRuns: 500 },
    );
  });

  it('stands any bytes, and changes none of those that it refuses', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const copy = Uint8Array.from(bytes);
        if (mendHuffman(copy) !== 'mended') assert.deepEqual(copy, bytes);
      }),
      { numRuns: 2000 },
    );
  });
});
