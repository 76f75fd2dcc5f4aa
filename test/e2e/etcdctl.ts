/**
 * `etcdctl get PREFIX --prefix`, which prints each key and each value on a line of its own, the same with
 * `--print-value-only`, and with `--keys-only`, which prints each key and an empty line, over etcd's JSON
 * gateway: etcdctl itself is not among the servers of the tests. ENDPOINT comes first.
 */
import { jsonRequest } from '../servers/json-request.ts';

const [endpoint = '', command, prefix = '', ...flags] = process.argv.slice(2);
const [isPrefix, what] = flags;
const [hasKeys, hasValues] = [what !== '--print-value-only', what !== '--keys-only'];
if (
  command !== 'get' ||
  isPrefix !== '--prefix' ||
  flags.length > 2 ||
  (what !== undefined && hasKeys && hasValues)
)
  throw new Error(`not copied: ${process.argv.slice(3).join(' ')}`);
const end = prefix.slice(0, -1) + String.fromCharCode(prefix.charCodeAt(prefix.length - 1) + 1);
const base64 = (text: string): string => Buffer.from(text).toString('base64');
const { status, body } = await jsonRequest({
  method: 'POST',
  url: `${endpoint}/v3/kv/range`,
  body: { key: base64(prefix), range_end: base64(end) },
});
if (status !== 200) throw new Error(`etcd: ${status}`);
type Entry = { readonly key: string; readonly value?: string };
const { kvs = [] } = body as { readonly kvs?: readonly Entry[] };
for (const { key, value = '' } of kvs) {
  if (hasKeys) process.stdout.write(`${Buffer.from(key, 'base64')}\n`);
  if (hasValues) process.stdout.write(Buffer.from(value, 'base64'));
  process.stdout.write('\n');
}
