import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as connectSession } from 'node:http2';
import { connect } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { prefixed } from '../../fuzz/raw-connection.ts';
import { serveKms } from './kms-under-test.ts';

const STATUS = '/v2.KeyManagementService/Status';
const DECRYPT = '/v2.KeyManagementService/Decrypt';

/** What stands before the message of an answer, and behind it. */
async function headersOf(
  t: TestContext,
  path: string,
  more: Readonly<Record<string, string>> = {},
): Promise<{ readonly headers: object; readonly trailers: object }> {
  const { socket } = await serveKms(t);
  const session = connectSession('http://localhost', { createConnection: () => connect(socket) });
  t.after(() => session.destroy());
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...more,
  });
  let trailers: object = {};
  stream.on('trailers', (received: object) => {
    trailers = received;
  });
  const [responded, ended] = [once(stream, 'response'), once(stream, 'close')];
  stream.resume().end(prefixed(Buffer.alloc(0)));
  const [headers] = (await responded) as [object];
  await ended;
  return { headers: named(headers), trailers: named(trailers) };
}

/** Without what Node notes of them under a symbol. */
function named(headers: object): object {
  return Object.fromEntries(Object.entries(headers));
}

describe('the headers of an answer', () => {
  it('are those which gRPC asks for, and no others', async (t) => {
    const { headers, trailers } = await headersOf(t, STATUS);
    assert.deepEqual(headers, { ':status': 200, 'content-type': 'application/grpc+proto' });
    assert.deepEqual(trailers, { 'grpc-status': '0' });
  });

  for (const { what, path, more, code, message } of [
    {
      ...{ what: 'a failure', path: DECRYPT, more: {}, code: '3' },
      message: /^the ciphertext is empty/,
    },
    {
      ...{ what: 'a refusal of compression', path: STATUS, more: { 'grpc-encoding': 'gzip' } },
      ...{ code: '12', message: /^compressed messages are not taken/ },
    },
  ]) {
    it(`of ${what} have its code and sentence, and name the encoding that is taken`, async (t) => {
      const { headers } = await headersOf(t, path, more);
      const { 'grpc-message': sentence = '', ...others } = headers as Record<string, string>;
      assert.deepEqual(others, {
        ...{ ':status': 200, 'content-type': 'application/grpc+proto' },
        ...{ 'grpc-status': code, 'grpc-accept-encoding': 'identity' },
      });
      assert.match(decodeURIComponent(sentence), message);
    });
  }
});
