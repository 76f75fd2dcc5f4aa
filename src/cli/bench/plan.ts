/** What `trousseau bench` was asked to measure, out of its options. Pure. */
import { resolve } from 'node:path';
import type { Invocation } from '../command.ts';

/** Where the provider that is measured directly comes from. */
export type DirectSource =
  | { readonly from: 'config'; readonly file: string }
  | {
      readonly from: 'flags';
      readonly address: string;
      readonly key: string;
      readonly mount: string;
      readonly tokenFile: string;
    };

export type Plan = {
  /** Of each measurement. */
  readonly seconds: number;
  /** Calls at a time, in the order in which they are measured. */
  readonly concurrency: readonly number[];
  /** Undefined where the configuration names it, or where the provider alone is measured. */
  readonly socket: string | undefined;
  /** Undefined where the socket alone is measured. */
  readonly direct: DirectSource | undefined;
};

export const DEFAULTS = { seconds: '5', concurrency: '1,16,64', mount: 'transit' } as const;

const MAX_SECONDS = 3600;
/** Far below what the plugin queues: it is to be measured, not to be filled up. */
const MAX_CONCURRENCY = 512;
const MAX_MEASURED = 16;

/** The plan, or the sentence that says which option is wrong and what it takes. */
export function planOf({
  options,
  positionals,
}: Pick<Invocation, 'options' | 'positionals'>): Plan | { readonly problem: string } {
  if (positionals.length > 0) return { problem: 'it takes no arguments' };
  const seconds = secondsOf(textOf(options['seconds']) ?? DEFAULTS.seconds);
  if (seconds === undefined)
    return { problem: `--seconds must be a number from 0.1 to ${MAX_SECONDS}` };
  const concurrency = concurrencyOf(textOf(options['concurrency']) ?? DEFAULTS.concurrency);
  if (concurrency === undefined) {
    return {
      problem: `--concurrency must be up to ${MAX_MEASURED} different whole numbers from 1 to ${MAX_CONCURRENCY} with commas between them, such as ${DEFAULTS.concurrency}`,
    };
  }
  const socket = textOf(options['socket']);
  const direct = directOf(options);
  if (direct !== undefined && 'problem' in direct) return direct;
  if (socket === undefined && direct === undefined)
    return { problem: 'name what to measure: --config FILE, --socket PATH or both' };
  return {
    seconds,
    concurrency,
    socket: socket === undefined ? undefined : resolve(socket),
    direct,
  };
}

/** A number of seconds as people write it; undefined where it is not one or out of bounds. */
export function secondsOf(text: string): number | undefined {
  if (!/^\d+(\.\d+)?$/.test(text)) return undefined;
  const seconds = Number(text);
  return seconds >= 0.1 && seconds <= MAX_SECONDS ? seconds : undefined;
}

/** `1,16,64`; undefined where a part is no whole number, out of bounds or there twice. */
export function concurrencyOf(text: string): readonly number[] | undefined {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.length > MAX_MEASURED || !parts.every((part) => /^[1-9]\d{0,3}$/.test(part)))
    return undefined;
  const numbers = parts.map(Number);
  const distinct = new Set(numbers).size === numbers.length;
  return distinct && numbers.every((n) => n <= MAX_CONCURRENCY) ? numbers : undefined;
}

function directOf(
  options: Invocation['options'],
): DirectSource | { readonly problem: string } | undefined {
  const file = textOf(options['config']);
  const flags = {
    vault: textOf(options['vault']),
    key: textOf(options['key']),
    mount: textOf(options['mount']),
    'token-file': textOf(options['token-file']),
  };
  const given = Object.entries(flags).flatMap(([name, value]) =>
    value === undefined ? [] : [`--${name}`],
  );
  if (file !== undefined) {
    return given.length === 0
      ? { from: 'config', file }
      : { problem: `--config and ${given.join(', ')} exclude each other` };
  }
  if (given.length === 0) return undefined;
  const { vault: address, key, mount = DEFAULTS.mount, 'token-file': tokenFile } = flags;
  if (address === undefined || key === undefined || tokenFile === undefined)
    return { problem: '--vault, --key and --token-file belong together' };
  return { from: 'flags', address, key, mount, tokenFile: pathOf(tokenFile) };
}

/** A path as the person meant it, from where they are; `credential:NAME` stays as it is. */
function pathOf(place: string): string {
  return place.startsWith('credential:') ? place : resolve(place);
}

function textOf(option: string | boolean | undefined): string | undefined {
  return typeof option === 'string' ? option : undefined;
}
