/**
 * Signed packages, and what is left of one without its signature: those bytes anybody can rebuild.
 * An RPM carries its signature in a header of its own, a Debian package in an `ar` member at its end.
 */
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathOf, run } from '../packages/tools.ts';
import type { Signer } from './sign.ts';

const AR_MAGIC = '!<arch>\n';
const AR_HEADER_BYTES = 60;
/** The member that debsigs and debsig-verify know: who made the package signs it. */
const DEB_SIGNATURE = '_gpgorigin';

const RPM_LEAD_BYTES = 96;
const RPM_HEADER_MAGIC = 0x8eade801;
const RPM_INDEX_ENTRY_BYTES = 16;

/** In place; `rpmkeys --checksig` and dnf check it. */
export function signRpm(file: string, { signingKey }: Signer): void {
  const defines = [
    `_gpg_name ${signingKey}!`,
    '_gpg_digest_algo sha512',
    `__gpg ${pathOf('gpg') ?? 'gpg'}`,
  ];
  run('rpmsign', [...defines.flatMap((define) => ['--define', define]), '--addsign', file]);
}

/** In place; over the three members that a Debian package has, one after the other. */
export function signDeb(file: string, signer: Signer, epoch: number): void {
  const scratch = mkdtempSync(join(tmpdir(), 'trousseau-sign-'));
  try {
    const members = join(scratch, 'members');
    writeFileSync(members, Buffer.concat(arMembers(readFileSync(file)).map(({ data }) => data)));
    signer.detached(members);
    const signature = readFileSync(`${members}.asc`);
    appendFileSync(file, arMember(DEB_SIGNATURE, signature, epoch));
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** What a rebuild must give: the package without its signature. */
export function unsignedBytes(file: string): Buffer {
  const bytes = readFileSync(file);
  return file.endsWith('.rpm') ? rpmBody(bytes) : debBody(bytes);
}

/** The signature of a Debian package and what it is over, or nothing where it has none. */
export function debSignature(
  file: string,
): { readonly signature: Buffer; readonly over: Buffer } | undefined {
  const members = arMembers(readFileSync(file));
  const found = members.find(({ name }) => name === DEB_SIGNATURE);
  if (found === undefined) return undefined;
  const over = members.filter(({ name }) => !name.startsWith('_gpg')).map(({ data }) => data);
  return { signature: found.data, over: Buffer.concat(over) };
}

/** Everything after the lead and the signature header, which is padded to 8 bytes. */
function rpmBody(bytes: Buffer): Buffer {
  if (bytes.readUInt32BE(RPM_LEAD_BYTES) !== RPM_HEADER_MAGIC) throw new Error('not an RPM');
  const entries = bytes.readUInt32BE(RPM_LEAD_BYTES + 8);
  const data = bytes.readUInt32BE(RPM_LEAD_BYTES + 12);
  const header = 16 + entries * RPM_INDEX_ENTRY_BYTES + data;
  return bytes.subarray(RPM_LEAD_BYTES + Math.ceil(header / 8) * 8);
}

function debBody(bytes: Buffer): Buffer {
  const signature = arMembers(bytes).find(({ name }) => name === DEB_SIGNATURE);
  return signature === undefined ? bytes : bytes.subarray(0, signature.start);
}

type ArMember = { readonly name: string; readonly start: number; readonly data: Buffer };

function arMembers(bytes: Buffer): readonly ArMember[] {
  if (bytes.toString('latin1', 0, AR_MAGIC.length) !== AR_MAGIC) throw new Error('not an ar file');
  const members: ArMember[] = [];
  for (let start = AR_MAGIC.length; start + AR_HEADER_BYTES <= bytes.length; ) {
    const name = bytes
      .toString('latin1', start, start + 16)
      .trim()
      .replace(/\/$/, '');
    const size = Number(bytes.toString('latin1', start + 48, start + 58));
    const from = start + AR_HEADER_BYTES;
    members.push({ name, start, data: bytes.subarray(from, from + size) });
    start = from + size + (size % 2);
  }
  return members;
}

function arMember(name: string, data: Buffer, epoch: number): Buffer {
  const field = (value: string | number, width: number): string => String(value).padEnd(width);
  const header = `${field(name, 16)}${field(epoch, 12)}${field(0, 6)}${field(0, 6)}${field(100644, 8)}${field(data.length, 10)}\`\n`;
  const padding = Buffer.from(data.length % 2 === 0 ? '' : '\n');
  return Buffer.concat([Buffer.from(header), data, padding]);
}
