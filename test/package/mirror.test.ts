import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mirrorIn } from './mirror.ts';

const CASES: readonly (readonly [what: string, texts: readonly string[], mirror: string])[] = [
  [
    'a line',
    [
      '# deb http://old.example/debian x main\ndeb [arch=amd64] http://one.example/debian trixie main\n',
    ],
    'http://one.example/debian',
  ],
  [
    'a stanza, where sources.list has comments alone',
    ['# moved\n', 'Types: deb\nURIs: https://two.example/debian/\nSuites: trixie\n'],
    'https://two.example/debian',
  ],
  [
    'the first of two in a stanza',
    ['URIs: http://one.example/debian http://two.example/debian\n'],
    'http://one.example/debian',
  ],
  [
    'what follows the security updates',
    ['deb http://one.example/debian-security x main\ndeb http://two.example/debian x main\n'],
    'http://two.example/debian',
  ],
  [
    "Debian's own, on an Ubuntu",
    ['deb http://archive.ubuntu.com/ubuntu noble main\n'],
    'http://deb.debian.org/debian',
  ],
  [
    "Debian's own, where a list of mirrors is a file",
    ['URIs: mirror+file:///etc/apt/mirrors/debian.list\n'],
    'http://deb.debian.org/debian',
  ],
  ["Debian's own, where there is no file", [], 'http://deb.debian.org/debian'],
];

for (const [what, texts, expected] of CASES) {
  test(`the mirror of Debian is ${what}`, () => assert.equal(mirrorIn(texts), expected));
}
