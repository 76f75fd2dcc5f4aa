import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createLastNet } from '../../../src/cli/uncaught.ts';
import { createLog } from '../../../src/observe/log.ts';

const HTTP2_FRAME = '    at ServerHttp2Stream.respond (node:internal/http2/core:3047:13)';
const OWN_FRAME = '    at takeBatch (trousseau.cjs:1:4711)';
const SECRET = 'hvs.planted-secret';

function thrown(code: string, frames: readonly string[], message = SECRET): Error {
  const error = Object.assign(new Error(message), { code });
  error.stack = [`Error [${code}]: ${message}`, ...frames].join('\n');
  return error;
}

describe('an exception that nobody caught', () => {
  const table: readonly (readonly [string, unknown, 'goes on' | 'ends'])[] = [
    [
      'a stream that its client has reset',
      thrown('ERR_HTTP2_INVALID_STREAM', [HTTP2_FRAME]),
      'goes on',
    ],
    ['a stream that has been answered', thrown('ERR_HTTP2_HEADERS_SENT', [HTTP2_FRAME]), 'goes on'],
    [
      'trailers that have been sent',
      thrown('ERR_HTTP2_TRAILERS_ALREADY_SENT', [HTTP2_FRAME]),
      'goes on',
    ],
    ['a session that has ended', thrown('ERR_HTTP2_INVALID_SESSION', [HTTP2_FRAME]), 'goes on'],
    [
      'an error of a stream without a listener',
      thrown('ERR_HTTP2_STREAM_ERROR', [HTTP2_FRAME]),
      'goes on',
    ],
    [
      'the same code from our own code',
      thrown('ERR_HTTP2_INVALID_STREAM', [OWN_FRAME, HTTP2_FRAME]),
      'ends',
    ],
    [
      'the same code and a message that looks like a frame of HTTP/2',
      thrown('ERR_HTTP2_INVALID_STREAM', [OWN_FRAME], `${SECRET}\n${HTTP2_FRAME}`),
      'ends',
    ],
    [
      'another check of HTTP/2',
      thrown('ERR_HTTP2_PSEUDOHEADER_NOT_ALLOWED', [HTTP2_FRAME]),
      'ends',
    ],
    ['an assertion in HTTP/2', thrown('ERR_ASSERTION', [HTTP2_FRAME]), 'ends'],
    ['an error without a code', new TypeError(SECRET), 'ends'],
    ['what is no error', SECRET, 'ends'],
  ];
  for (const [what, error, expected] of table) {
    it(`${expected} after ${what}, and logs nothing that was in it`, () => {
      const lines: string[] = [];
      const exits: number[] = [];
      const log = createLog({
        level: 'info',
        format: 'json',
        write: (line) => void lines.push(line),
      });
      createLastNet(log, (code) => void exits.push(code))(error);
      assert.deepEqual(exits, expected === 'ends' ? [1] : []);
      assert.equal(lines.length, 1);
      assert.equal(lines.join('').includes(SECRET), false);
      assert.equal(JSON.parse(lines.join('')).level, expected === 'ends' ? 'error' : 'warn');
    });
  }
});
