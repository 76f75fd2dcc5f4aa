/**
 * Every kind of reply that a request to Vault may get, from whom, and what it says: which is what
 * the reply table is made of. `seen` is what the bytes copy: a Vault of that version, its source
 * (vault/http, sdk/logical/response_util.go, builtin/logical/transit), or what stands before it.
 */
import { errorsOf, jsonOf, type Wire } from './fake-servers.ts';

/** What a reply speaks of: this server, the request, its items, the token, or a limit of requests. */
export type Says = 'server' | 'request' | 'item' | 'token' | 'limit';

export type Kind = {
  readonly name: string;
  readonly says: Says;
  readonly seen: string;
  readonly wire: Wire;
};

const kind = (says: Says, seen: string, name: string, wire: Wire): Kind => ({
  name,
  says,
  seen,
  wire,
});
const page = (status: number, headers: Readonly<Record<string, string>> = {}): Wire => ({
  status,
  text: '<html><body>no</body></html>',
  headers: { 'content-type': 'text/html', ...headers },
});

export const KINDS: readonly Kind[] = [
  kind('server', 'no server', 'a refused connection', 'refused'),
  kind('server', 'a server that dies', 'a connection that is cut', 'reset'),
  kind('server', 'a server that hangs', 'silence', 'hang'),

  kind('server', '1.21.1, 1.9.3', 'a sealed server', errorsOf(503, 'Vault is sealed')),
  kind('server', '1.21.1, 1.9.3', 'recovery mode', {
    status: 404,
    text: '404 page not found\n',
    headers: { 'content-type': 'text/plain; charset=utf-8' },
  }),
  kind('server', 'logical.go', 'a denial without a word', errorsOf(403)),
  kind('server', 'handler.go', 'a server that is not active', errorsOf(503, 'node is not active')),
  kind(
    'server',
    '1.21.1',
    'a standby without an active node',
    errorsOf(500, 'local node not active but active cluster node not found'),
  ),
  kind(
    'server',
    'handler.go',
    'a standby that knows of no active node',
    errorsOf(503, 'no active Vault instance found'),
  ),
  kind('server', 'handler.go', 'a standby that redirects', {
    status: 307,
    text: '',
    headers: { location: 'https://10.0.0.9:8200/v1/x' },
  }),
  kind(
    'server',
    'Enterprise',
    'a disaster recovery secondary',
    errorsOf(400, 'path disabled in replication DR secondary mode'),
  ),
  kind(
    'server',
    '1.21.1, 1.9.3',
    'a listener for load balancers, asked by somebody else',
    errorsOf(400, 'missing x-forwarded-for header and configured to reject when not present'),
  ),
  kind(
    'server',
    '1.21.1, 1.9.3',
    'a listener for load balancers, asked by one that it does not know',
    errorsOf(
      400,
      'client address not authorized for x-forwarded-for and configured to reject connection',
    ),
  ),
  kind(
    'server',
    'Enterprise',
    'a performance standby that is behind',
    errorsOf(412, 'required index state not present'),
  ),
  kind(
    'server',
    'Enterprise',
    'a primary that was demoted',
    errorsOf(500, '1 error occurred:\n\t* cannot write to readonly storage\n\n'),
  ),
  kind(
    'server',
    'Enterprise',
    'a locked namespace',
    errorsOf(
      503,
      'API access to this namespace has been locked by an administrator - "team/" must be unlocked to gain access.',
    ),
  ),
  kind(
    'server',
    'response_util.go',
    'an overloaded server',
    errorsOf(503, '1 error occurred:\n\t* overloaded, try again later\n\n'),
  ),
  kind(
    'server',
    '1.21.1',
    'trouble with storage',
    errorsOf(500, '1 error occurred:\n\t* internal error\n\n'),
  ),
  kind('server', 'response_util.go', 'an upstream limit', errorsOf(502, 'upstream rate limited')),

  ...[400, 401, 403, 404, 405, 408, 413, 421, 429, 500, 501, 502, 503, 504, 520].map((status) =>
    kind('server', 'a proxy or a WAF', `a page with ${status}`, page(status)),
  ),
  kind(
    'server',
    'nginx',
    'a page with 503 and an hour to wait',
    page(503, { 'retry-after': '3600' }),
  ),
  kind(
    'server',
    'a WAF',
    'a page with 429 and an hour to wait',
    page(429, { 'retry-after': '3600' }),
  ),
  kind('server', "Go's net/http", 'plain http at a port for TLS', {
    status: 400,
    text: 'Client sent an HTTP request to an HTTPS server.\n',
  }),
  kind('server', 'a captive portal', 'a login page', page(200)),
  kind('server', 'a captive portal', 'a redirect', page(302, { location: 'https://portal/' })),
  kind(
    'server',
    'a captive portal',
    'another redirect',
    page(307, { location: 'https://portal/' }),
  ),
  kind('server', 'a load balancer', 'a redirect for good', page(301, { location: 'https://x/' })),
  kind('server', 'a captive portal', 'an empty 204', { status: 204, text: '' }),
  kind('server', 'a load balancer', 'an empty 200', { status: 200, text: '' }),
  kind('server', 'a default backend', 'other JSON', jsonOf(200, { status: 'ok' })),
  kind('server', 'another program', 'a list', jsonOf(200, [])),
  kind('server', 'a proxy', 'JSON that is cut', {
    status: 200,
    text: '{"data":{"batch_results":[',
    headers: { 'content-type': 'application/json' },
  }),
  kind('server', 'an API gateway', 'JSON of a gateway, 403', jsonOf(403, { message: 'Forbidden' })),
  kind('server', 'an API gateway', 'JSON of a gateway, 429', jsonOf(429, { message: 'slow down' })),
  kind(
    'server',
    'an API gateway',
    'errors that are no texts',
    jsonOf(400, { errors: [{ code: 1 }] }),
  ),
  kind('server', 'kube-apiserver', 'a Status object', jsonOf(403, { kind: 'Status', code: 403 })),

  kind(
    'token',
    '1.21.1',
    'a token that is not valid',
    errorsOf(403, '2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n'),
  ),
  kind(
    'token',
    '1.21.1',
    'a policy that denies',
    errorsOf(403, '1 error occurred:\n\t* permission denied\n\n'),
  ),
  kind('token', '1.9.3', 'a policy that denies, in the oldest', errorsOf(403, 'permission denied')),
  kind(
    'request',
    '1.21.1',
    'a mount that is not there',
    errorsOf(404, 'no handler for route "x". route entry not found.'),
  ),
  kind(
    'request',
    '1.21.1',
    'an operation that is not served',
    errorsOf(405, '1 error occurred:\n\t* unsupported operation\n\n'),
  ),
  kind('request', '1.21.1', 'a key that is not there', errorsOf(400, 'encryption key not found')),
  kind('request', 'OpenBao', 'a namespace that is not there', errorsOf(404, 'namespace not found')),
  kind(
    'item',
    'response_util.go',
    'a request that is too large',
    errorsOf(413, 'failed to parse JSON input: http: request body too large'),
  ),
  kind(
    'limit',
    'response_util.go',
    'a rate limit quota',
    jsonOf(429, { errors: ['rate limit quota exceeded'] }, { 'retry-after': '1' }),
  ),
  kind(
    'limit',
    'response_util.go',
    'a lease count quota',
    errorsOf(429, '1 error occurred:\n\t* lease count quota exceeded\n\n'),
  ),
];
