import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { MAX_HEADER_BYTES, parseAdminRequest } from '../../../src/observe/admin-request.ts';

const get = (target: string, ...fields: readonly string[]): string =>
  [`GET ${target} HTTP/1.1`, ...fields, '', ''].join('\r\n');
/** As many as fit: what takes the square or the cube of their number would not end in time. */
const BLANKS = ' \t'.repeat((MAX_HEADER_BYTES - 100) / 2);
const ask = (path: string, loopbackHost: boolean, isHead = false) =>
  ({ kind: 'request', path, isHead, loopbackHost }) as const;

describe('a request to the admin endpoint', () => {
  for (const [text, found] of [
    [get('/livez', 'Host: localhost'), ask('/livez', true)],
    [get('/livez', 'Host: 127.0.0.1:9470', 'User-Agent: kube-probe/1.36'), ask('/livez', true)],
    [get('/readyz?verbose', 'host:[::1]:9470'), ask('/readyz', true)],
    [get('/readyz', 'Host: LOCALHOST:1'), ask('/readyz', true)],
    [get('/readyz', 'Host: evil.example'), ask('/readyz', false)],
    [get('/readyz', 'Host: localhost.evil.example'), ask('/readyz', false)],
    [get('/readyz', 'Host: evil.example:127.0.0.1'), ask('/readyz', false)],
    [get('/readyz', 'Host: 128.0.0.1'), ask('/readyz', false)],
    [get('/readyz', 'Host:'), ask('/readyz', false)],
    [get('/readyz'), ask('/readyz', false)],
    ['GET /livez HTTP/1.0\r\n\r\n', ask('/livez', true)],
    ['HEAD /livez HTTP/1.1\r\nHost: localhost\r\n\r\n', ask('/livez', true, true)],
    [`${get('/livez', 'Host: localhost')}GET /more`, ask('/livez', true)],
    [get('/livez', 'Host: localhost', 'Content-Length: 0'), ask('/livez', true)],
    [get('/livez', 'Host:\t localhost \t'), ask('/livez', true)],
    [get('/livez', 'Host: local host'), ask('/livez', false)],
    [get('/livez', 'Host: localhost', 'Content-Length:\t0 '), ask('/livez', true)],
    [get('/livez', `Host: localhost${BLANKS}`), ask('/livez', true)],
    [get('/livez', `Host:${BLANKS}localhost`, 'a:'), ask('/livez', true)],
    [get('/livez', `Host: local${BLANKS}host`), ask('/livez', false)],
    ['POST /livez HTTP/1.1\r\nContent-Length: 0\r\n\r\n', { kind: 'other method' }],
    ['', { kind: 'incomplete' }],
    ['GET /livez HTTP/1.1\r\nHost: localhost\r\n', { kind: 'incomplete' }],
    ['x'.repeat(MAX_HEADER_BYTES + 1), { kind: 'too long' }],
    [get('/livez', `a: ${'x'.repeat(MAX_HEADER_BYTES)}`), { kind: 'too long' }],
  ] as const) {
    it(`is understood: ${JSON.stringify(text.slice(0, 60))}`, () =>
      assert.deepEqual(parseAdminRequest(text), found));
  }

  for (const text of [
    get('livez', 'Host: localhost'),
    get('http://localhost/livez', 'Host: localhost'),
    get('/li vez', 'Host: localhost'),
    get('/livez', 'Host: localhost', 'Content-Length: 5'),
    get('/livez', 'Host: localhost', 'Content-Length: 0', 'Content-Length: 5'),
    get('/livez', 'Host: localhost', 'Transfer-Encoding: chunked'),
    get('/livez', 'Host: localhost', 'Upgrade: h2c'),
    get('/livez', 'Host: localhost', 'Expect: 100-continue'),
    get('/livez', 'Host: localhost', 'Host: evil.example'),
    get('/livez', 'Host : localhost'),
    get('/livez', 'Host: localhost', ' folded'),
    get('/livez', 'Host: localhost', `a:${BLANKS}\n`),
    get('/livez', 'Host: localhost', `a:${BLANKS}\rb`),
    get('/livez', 'Host: localhost', `a:${BLANKS.slice(1_000)}b${BLANKS.slice(0, 900)}\n`),
    'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    '\r\n\r\n',
  ]) {
    it(`is malformed: ${JSON.stringify(text.slice(0, 60))}`, () =>
      assert.equal(parseAdminRequest(text).kind, 'malformed'));
  }

  it('never makes the parser throw, whatever it is', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        assert.notEqual(parseAdminRequest(text), undefined);
        assert.notEqual(parseAdminRequest(`${text}\r\n\r\n`).kind, 'incomplete');
      }),
    );
  });
});
