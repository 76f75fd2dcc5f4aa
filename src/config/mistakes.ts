/** Which mistake a value shows, by its form alone; the value itself is never repeated. */

/** Who makes it, and what to write instead; each ends a sentence after a colon. */
type Mistake = {
  readonly shows: (input: unknown, field: string) => boolean;
  readonly what: string;
};

const isText = (input: unknown): input is string => typeof input === 'string';
const text =
  (pattern: RegExp): Mistake['shows'] =>
  (input) =>
    isText(input) && pattern.test(input);
const fieldAnd =
  (name: RegExp, shows: Mistake['shows']): Mistake['shows'] =>
  (input, field) =>
    name.test(field) && shows(input, field);

const ADDRESS = /^(addresses|proxy)$/;
const SOCKET = /^socket$/;

/** The first that fits is said. */
const MISTAKES: readonly Mistake[] = [
  {
    shows: text(/\$\{?[A-Za-z_]\w*|\{\{|^<[^>]*>$|%[A-Za-z_]\w*%/),
    what: 'variables and placeholders are not filled in here: write the value itself',
  },
  {
    shows: text(/[\u201c\u201d\u201e\u2018\u2019]/),
    what: 'it holds typographic quotes: write " or \' instead',
  },
  { shows: text(/^\s|\s$/), what: 'a blank or a line feed begins or ends it' },
  {
    shows: fieldAnd(/^mode$/, (input) => typeof input === 'number'),
    what: 'quote it: "0600"',
  },
  {
    shows: fieldAnd(/Interval|Grace|Timeout|maxAge/, (input) => typeof input === 'number'),
    what: 'write the unit too: 30s',
  },
  {
    shows: fieldAnd(ADDRESS, text(/^(unix|tcp|grpc|ftp|socks\w*|ws|wss):/i)),
    what: 'its scheme must be https, or http',
  },
  {
    shows: fieldAnd(ADDRESS, text(/^https?:\/?[^/]/i)),
    what: 'two slashes belong behind the scheme',
  },
  {
    shows: fieldAnd(/^proxy$/, text(/:\/\/[^/]*@/)),
    what: 'no user and no password may stand in it: leave the field out, and name it by HTTPS_PROXY',
  },
  {
    shows: fieldAnd(ADDRESS, text(/:\/\/[^/]*@/)),
    what: 'no user and no password may stand in it',
  },
  { shows: fieldAnd(ADDRESS, text(/[?#]/)), what: 'leave out ? and # and what follows' },
  {
    shows: fieldAnd(ADDRESS, text(/,/)),
    what: 'each address is an entry of its own: [https://a:8200, https://b:8200]',
  },
  {
    shows: fieldAnd(/^proxy$/, text(/^(?!https?:)[A-Za-z0-9.[\]:-]+(\/.*)?$/i)),
    what: 'the scheme is missing: write http:// before the host',
  },
  {
    shows: fieldAnd(ADDRESS, text(/^(?!https?:)[A-Za-z0-9.[\]:-]+(\/.*)?$/i)),
    what: 'the scheme is missing: write https:// before the host',
  },
  {
    shows: fieldAnd(SOCKET, text(/^unix:/)),
    what: 'leave out unix:// and write the path alone',
  },
  {
    shows: fieldAnd(SOCKET, text(/^\/*@/)),
    what: 'abstract sockets have no permissions, and anybody could connect: name a file',
  },
  {
    shows: fieldAnd(/^(caFile|keyringFile)$/, text(/^credential:/)),
    what: 'credential:NAME is for secrets only: name a file',
  },
  {
    shows: fieldAnd(/File$/, text(/^file:/)),
    what: 'leave out file:// and write the path alone',
  },
  {
    shows: fieldAnd(/File$/, text(/^-----BEGIN/)),
    what: 'name a file with it; the certificate or key itself never stands here',
  },
  {
    shows: fieldAnd(/File$|^socket$/, text(/^~/)),
    what: 'the shell alone knows ~: write the whole path',
  },
  {
    shows: fieldAnd(
      /File$|^socket$/,
      text(/^\.{1,2}\/|^[\w/-]+\.(pem|crt|cer|key|json|sock|socket)$/),
    ),
    what: 'write the whole path, from / on',
  },
  {
    shows: fieldAnd(/File$/, isText),
    what: 'name a file; the secret itself never stands here',
  },
  {
    shows: fieldAnd(/^address$/, text(/^(0\.0\.0\.0|\[?::\]?|)(:\d+)?$/)),
    what: 'everybody in the network could read it there',
  },
  {
    shows: fieldAnd(/^key$/, text(/\//)),
    what: 'write the name of the key alone; the path of its engine belongs into mount',
  },
  {
    shows: fieldAnd(
      /^(level|format|kind|apis)$/,
      (input) => isText(input) && input !== input.trim(),
    ),
    what: 'a blank stands in it',
  },
  {
    shows: (input) => isText(input) && ['yes', 'no', 'on', 'off', 'true', 'false'].includes(input),
    what: 'write true or false, without quotes',
  },
  {
    shows: fieldAnd(/^kind$/, text(/^Encryption(Configuration|Config)$/)),
    what: "this is kube-apiserver's file: name the plugin's own",
  },
  {
    shows: fieldAnd(/^kind$/, text(/^(ConfigMap|Secret|Pod|DaemonSet|Deployment|List)$/)),
    what: 'this is an object of Kubernetes: name the file in it that configures the plugin',
  },
  {
    shows: fieldAnd(/^kind$/, text(/Kube|Cluster|InitConfiguration/)),
    what: "this is a file of Kubernetes' own programs: name the plugin's",
  },
  {
    shows: fieldAnd(/^$/, text(/^[A-Za-z]\w*:\S/)),
    what: 'no space follows the colon: write "field: value"',
  },
  { shows: fieldAnd(/^$/, text(/^[\w.-]+\s*=|\{/)), what: 'it is not YAML: write "field: value"' },
];

/** What is wrong with a value, if its form shows it; `field` is the nearest field's name, '' for the whole file. */
export function mistakeIn(field: string | undefined, input: unknown): string | undefined {
  return MISTAKES.find(({ shows }) => shows(input, field ?? ''))?.what;
}
