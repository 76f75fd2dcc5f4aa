/** `trousseau bench`: the figures of one's own installation, with and without the plugin. */
import { systemClock } from '../system/clock.ts';
import { VERSION } from '../version.ts';
import { loadSource, openDirect, writerOf } from './bench/direct.ts';
import { load } from './bench/load.ts';
import { DEFAULTS, type Plan, planOf } from './bench/plan.ts';
import { type Measurement, type Report, reportJson, reportTable } from './bench/report.ts';
import { openPlugin } from './bench/socket.ts';
import { OPERATIONS, prepareCalls, type Way } from './bench/way.ts';
import { type Command, EXIT, type ExitCode, type Invocation, OUTPUT_OPTION } from './command.ts';
import { interruptible } from './interruptible.ts';

/** Before each measurement, so that it finds connections open and code compiled. */
const WARM_UP = { share: 0.2, mostMs: 1_000 };
/** So many ciphertexts for each call at a time that no two equal ones are under way together. */
const CIPHERTEXTS_PER_CALL = 4;

export const benchCommand: Command = {
  name: 'bench',
  summary: 'measure your own installation',
  usage: [
    'trousseau bench --config FILE [--socket PATH] [OPTIONS]',
    'trousseau bench --socket PATH [--vault ADDRESS --key KEY --token-file FILE] [OPTIONS]',
  ],
  description:
    'Measures how long encrypting and decrypting takes with the provider alone, one item a request,\n' +
    'and how long through the socket of the running plugin, as kube-apiserver calls it; then says what\n' +
    'the difference is. It encrypts random bytes with the configured key, which changes nothing and\n' +
    'leaves nothing behind, and prints no plaintext, ciphertext or token. It is a load on the plugin\n' +
    'and on Vault: where a cluster is at work, begin with --concurrency 1. It ends with 1 where a call\n' +
    'failed.',
  examples: [
    {
      command: 'trousseau bench --config /etc/trousseau/config.yaml',
      what: 'Vault alone and through the plugin, a little more than a minute',
    },
    {
      command: 'trousseau bench --socket /run/trousseau/kms.sock --seconds 1 --concurrency 1',
      what: 'the plugin alone, gently',
    },
    {
      command:
        'trousseau bench --socket /run/trousseau/kms.sock --vault https://vault.example:8200 \\\n' +
        '    --key kubernetes --token-file ./token -o json',
      what: 'with another token for Vault, for machines',
    },
  ],
  options: {
    config: {
      type: 'string',
      short: 'c',
      value: 'FILE',
      what: 'the configuration of the plugin: its socket, its provider, its login',
    },
    socket: {
      type: 'string',
      value: 'PATH',
      what: 'the socket, where not as in the configuration',
    },
    vault: { type: 'string', value: 'ADDRESS', what: 'instead of a configuration: where Vault is' },
    key: { type: 'string', value: 'KEY', what: 'with --vault: the Transit key' },
    mount: {
      type: 'string',
      value: 'MOUNT',
      what: `with --vault: where Transit is; ${DEFAULTS.mount} without it`,
    },
    'token-file': { type: 'string', value: 'FILE', what: 'with --vault: a file with a token' },
    seconds: {
      type: 'string',
      value: 'N',
      what: `how long one measurement takes; ${DEFAULTS.seconds} without it`,
    },
    concurrency: {
      type: 'string',
      value: 'LIST',
      what: `how many calls at a time; ${DEFAULTS.concurrency} without it`,
    },
    output: OUTPUT_OPTION,
  },
  async run(invocation): Promise<ExitCode> {
    const { options, out, err } = invocation;
    const plan = planOf(invocation);
    if ('problem' in plan) {
      err(`${plan.problem}; see trousseau bench --help\n`);
      return EXIT.usage;
    }
    const report = await interruptible((signal) => bench(plan, invocation, signal));
    if (typeof report === 'number') return report;
    out(options['output'] === 'json' ? reportJson(report) : reportTable(report));
    const good = report.complete && report.measurements.every(({ errors }) => errors === 0);
    return good ? EXIT.ok : EXIT.failure;
  },
};

/** Opens what the plan names, measures, and closes it; an exit code where that cannot be done. */
async function bench(
  plan: Plan,
  { env, err }: Invocation,
  signal: AbortSignal,
): Promise<Report | ExitCode> {
  const source = plan.direct && (await loadSource(plan.direct, env));
  if (source?.ok === false) {
    err(source.problem);
    return EXIT.usage;
  }
  if (source !== undefined) err(source.warnings);
  const writer = source && writerOf(source.config);
  const fromConfig = plan.direct?.from === 'config' ? source?.config.listen.socket : undefined;
  const socket = plan.socket ?? fromConfig;
  const opened: Way[] = [];
  const refuse = (what: string, why: string): ExitCode => {
    if (!signal.aborted) err(`${what}${why}\n`);
    return EXIT.failure;
  };
  try {
    // The socket first: it costs nobody a login to find out that nobody listens.
    const plugin = socket === undefined ? undefined : await openPlugin(socket);
    if (plugin?.ok === false) return refuse('', plugin.error.message);
    if (plugin !== undefined) opened.push(plugin.value.way);
    const direct = writer && (await openDirect(writer, env, signal));
    if (direct?.ok === false) return refuse(`provider ${writer?.name}: `, direct.error.message);
    if (direct !== undefined) opened.unshift(direct.value.way);
    const measured = await measureAll(plan, opened, err, signal);
    if ('problem' in measured) return refuse('', measured.problem);
    return {
      version: VERSION,
      seconds: plan.seconds,
      complete: !signal.aborted,
      socket,
      direct: writer && { provider: writer.name, kind: 'vault' in writer ? 'vault' : 'local' },
      notes: notesOf(plugin?.value.keyId, direct?.value.keyId),
      measurements: measured.measurements,
    };
  } finally {
    for (const way of opened) await way.stop();
  }
}

type Measured = { readonly measurements: readonly Measurement[] } | { readonly problem: string };

/** The ways take turns, so that whatever else the machine does meets both of them. */
async function measureAll(
  { seconds, concurrency }: Plan,
  ways: readonly Way[],
  err: Invocation['err'],
  signal: AbortSignal,
): Promise<Measured> {
  const prepared = [];
  const ciphertexts = CIPHERTEXTS_PER_CALL * Math.max(...concurrency);
  for (const way of ways) {
    const calls = await prepareCalls(way, ciphertexts, signal);
    if (!calls.ok) return { problem: `${way.name}: ${calls.error.message}` };
    prepared.push({ way: way.name, calls: calls.value });
  }
  const measurements: Measurement[] = [];
  const total = OPERATIONS.length * concurrency.length * ways.length;
  const common = { clock: systemClock, signal };
  const ms = seconds * 1000;
  for (const operation of OPERATIONS) {
    for (const atOnce of concurrency) {
      for (const { way, calls } of prepared) {
        const place = `${measurements.length + 1}/${total}`;
        err(`${place} ${operation}, ${atOnce} at once, ${way}: ${seconds} s\n`);
        const call = calls[operation];
        const warmUpMs = Math.min(ms * WARM_UP.share, WARM_UP.mostMs);
        await load(call, { ...common, concurrency: atOnce, ms: warmUpMs });
        if (signal.aborted) return { measurements };
        const figures = await load(call, { ...common, concurrency: atOnce, ms });
        measurements.push({ operation, concurrency: atOnce, way, ...figures });
        if (signal.aborted) return { measurements };
      }
    }
  }
  return { measurements };
}

/** What would make a comparison wrong. */
function notesOf(pluginKey: string | undefined, directKey: string | undefined): readonly string[] {
  const differ = pluginKey !== undefined && directKey !== undefined && pluginKey !== directKey;
  return differ
    ? ['The plugin announces another key than the one that was measured directly: do not compare.']
    : [];
}
