import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { loadConfig } from '../../../src/config/load.ts';
import { formatProblems } from '../../../src/config/problem.ts';

const HEAD = 'apiVersion: trousseau.io/v1\nkind: KMSPluginConfiguration\n';
const GOOD = `${HEAD}providers:
  - name: vault
    vault:
      addresses: [https://vault.example:8200]
      key: kubernetes
      auth:
        token: {tokenFile: /t}
`;

function said(text: string): string {
  const result = loadConfig(text, 'c', {});
  return formatProblems(result.ok ? result.warnings : result.problems);
}

/** What a person did, how the good configuration looks then, and what is said of it, with its place. */
const SLIPS: readonly (readonly [string, string, RegExp])[] = [
  ['a tab', GOOD.replace('      key', '\tkey'), /^c:7:1: .*a tab indents this line/],
  [
    'a tab among spaces',
    GOOD.replace('      key', '    \tkey'),
    /^c:7:\d: .*a tab indents this line/,
  ],
  [
    'no space after a colon',
    GOOD.replace('key: k', 'key:k'),
    /^c:7:11: .*no space follows the colon: write "field: value"/,
  ],
  [
    'no space after the first colon',
    GOOD.replace('apiVersion: ', 'apiVersion:'),
    /^c:1:12: .*no space follows the colon/,
  ],
  [
    'no space after a colon in braces',
    GOOD.replace('/t}', '/t, x:/t}'),
    /^c:9:32: .*no space follows the colon/,
  ],
  [
    'no space after any colon',
    'apiVersion:trousseau.io/v1\nkind:KMSPluginConfiguration\n',
    /^c:1:1: must be a mapping of fields; found text: no space follows the colon/,
  ],
  [
    '@ begins a value',
    GOOD.replace('kubernetes', '@k'),
    /^c:7:12: .*begins with @ must stand in quotes/,
  ],
  [
    '` begins a value',
    GOOD.replace('kubernetes', '`k`'),
    /^c:7:12: .*begins with ` must stand in quotes/,
  ],
  [
    '% begins a value',
    GOOD.replace('kubernetes', '%k'),
    /^c:7:12: .*begins with % must stand in quotes/,
  ],
  [
    '* begins a value',
    GOOD.replace('kubernetes', '*k'),
    /^c:7:12: .*begins with \* or & must stand in quotes/,
  ],
  [
    '& begins a value',
    GOOD.replace('kubernetes', '&k'),
    /^c:7:\d+: .*begins with \* or & must stand in quotes/,
  ],
  [
    '! begins a value',
    GOOD.replace('kubernetes', '!k v'),
    /^c:7:12: .*begins with ! must stand in quotes/,
  ],
  [
    '| begins a value',
    GOOD.replace('kubernetes', '|k'),
    /^c:7:\d+: .*begins with \| must stand in quotes/,
  ],
  [
    '> begins a value',
    GOOD.replace('kubernetes', '>k'),
    /^c:7:\d+: .*begins with > must stand in quotes/,
  ],
  [
    'a colon in a value',
    GOOD.replace('kubernetes', 'a: b'),
    /^c:7:12: .*a colon and a space in it must stand in quotes/,
  ],
  [
    'a field twice',
    GOOD.replace('      auth', '      key: k\n      auth'),
    /^c:8:7: .*twice in one mapping/,
  ],
  [
    'an indentation of its own',
    GOOD.replace('      key', '     key'),
    /^c:7:1: .*not aligned with the lines above/,
  ],
  ['a first line that is indented', ` ${GOOD}`, /^c:2:1: .*not aligned with the lines above/],
  [
    'a line that is deeper than a value',
    GOOD.replace('      key', '        key').replace('[https://vault.example:8200]', 'a'),
    /^c:6:\d+: .*has a value, and the next line is indented deeper/,
  ],
  [
    'a quote that is not closed',
    GOOD.replace('kubernetes', '"kubernetes'),
    /^c:7:12: .*quote that opens here is not closed/,
  ],
  [
    'the other quote that is not closed',
    GOOD.replace('kubernetes', "'kubernetes"),
    /^c:7:12: .*quote that opens here is not closed/,
  ],
  [
    'text after a quote',
    GOOD.replace('kubernetes', '"kuber"netes'),
    /^c:7:\d+: .*text follows the closing quote/,
  ],
  [
    'a bracket that is not closed',
    GOOD.replace(':8200]', ':8200'),
    /^c:\d+:\d+: .*bracket \[ or \{ that was opened before/,
  ],
  [
    'a bracket that was not opened',
    GOOD.replace('kubernetes', ']'),
    /^c:7:12: .*a closing bracket stands here without/,
  ],
  [
    'a backslash in quotes',
    GOOD.replace('kubernetes', '"C:\\data"'),
    /^c:7:\d+: .*a backslash in double quotes/,
  ],
  ['two documents', `${GOOD}---\n${GOOD}`, /^c:10:1: .*a second document begins here/],
  [
    'a list where a mapping is due',
    GOOD.replace('        token', '        - token'),
    /auth: must be a mapping of fields; found a list: leave out the dash/,
  ],
  [
    'a field among entries of a list',
    `- a\n${GOOD}`,
    /^c:2:1: .*begins with a list .*remove the dash/,
  ],
  ['an entry among fields', `${HEAD}- a\n`, /^c:3:1: .*an entry of a list .*where a field must/],
  [
    'no space after a dash',
    GOOD.replace('  - name', '  -name'),
    /^c:4:4: .*no space follows the dash/,
  ],
  [
    'a list without brackets',
    GOOD.replace('[https://vault.example:8200]', 'https://vault.example:8200'),
    /addresses: must be a list, as \[ENTRY\]/,
  ],
  [
    'a template',
    GOOD.replace('kubernetes', '{{ .Values.key }}'),
    /^c:7:\d+: .*placeholder \{\{ \.\.\. \}\}/,
  ],
  [
    'a blank of a web page',
    GOOD.replace('key: ', 'key:\u00a0'),
    /^c:7:11: .*U\+00A0, as in text copied from a web page/,
  ],
  [
    'a blank of a web page as indentation',
    GOOD.replace('      key', '\u00a0\u00a0\u00a0key'),
    /^c:7:1: .*U\+00A0/,
  ],
  [
    'typographic quotes',
    GOOD.replace('kubernetes', '\u201ckubernetes\u201d'),
    /key: .*typographic quotes/,
  ],
  [
    'field = value',
    'key = kubernetes\n',
    /must be a mapping of fields; found text: it is not YAML: write "field: value"/,
  ],
  [
    'the blocks of HCL',
    'vault {\n  key = "k"\n}\n',
    /must be a mapping of fields; found text: it is not YAML/,
  ],
  [
    'a comma too few',
    '{"apiVersion": "a" "kind": "b"}',
    /^c:1:\d+: .*a comma or a closing bracket is missing/,
  ],
];

describe('a slip in YAML', () => {
  assert.equal(said(GOOD), '');
  for (const [what, text, expected] of SLIPS) {
    it(`has a sentence of its own: ${what}`, () => {
      const problems = said(text);
      assert.match(problems, expected);
      assert.equal(problems.trimEnd().split('\n').length, 1, problems);
    });
  }

  it('is no slip with line ends of Windows or a byte order mark', () => {
    assert.equal(said(GOOD.replaceAll('\n', '\r\n')), '');
    assert.equal(said(`\ufeff${GOOD}`), '');
  });

  it('never repeats what stands in the file, wherever characters are changed', () => {
    const secret = 'hvs.CAESIJplantedplantedplanted';
    const text = GOOD.replace('kubernetes', secret).replace('/t}', `${secret}}`);
    const change = fc.record({
      at: fc.nat(text.length),
      cut: fc.nat(2),
      put: fc.constantFrom(
        '',
        ' ',
        '\t',
        '\n',
        ':',
        '"',
        "'",
        '[',
        '{',
        '}',
        '- ',
        '*',
        '&',
        '#',
        '|',
        '\u00a0',
        '---\n',
        '%',
      ),
    });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const changed = changes.reduce(
          (whole, { at, cut, put }) => whole.slice(0, at) + put + whole.slice(at + cut),
          text,
        );
        const told = said(changed);
        return !told.includes('CAESIJplanted') && !told.includes('plantedplanted');
      }),
      { numRuns: 1_000 },
    );
  });
});
