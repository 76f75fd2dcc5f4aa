/**
 * `etcdctl get PREFIX --prefix --print-value-only`, which prints each value and a line feed, over etcd's
 * JSON gateway: etcdctl itself is not among the servers of the tests. ENDPOINT comes first.
 */
import { jsonRequest } from '../servers/json-request.ts';

const [endpoint = '', command, prefix = '', ...flags] = process.argv.slice(2);
if (command !== 'get' || flags.join(' ') !== '--prefix --print-value-only')
  throw new Error(`not copied: ${process.argv.slice(3).join(' ')}`);
const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const { status, body } = await jsonRequest({
  method: 'POST',
  url: `${endpoint}/v3/kv/range`,
  body: { key: base64(prefix), range_end: base64(end) },
});
if (status !== 200) throw new Error(`etcd: ${status}`);
const { kvs = [] } = body as { readonly kvs?: readonly { readonly value?: string }[] };
for (const { value = '' } of kvs) {
  process.stdout.write(Buffer.from(value, 'base64'));
  process.stdout.write('\n');
}
