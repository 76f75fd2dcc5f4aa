/**
 * Takes symbols and debug information out of a linked ELF program, as `strip -s` does: here, because
 * that one's bytes differ from version to version, and an x64 host's seldom knows arm64.
 * Offsets are those of the ELF-64 object file format (elf.h: Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr).
 */

const MAGIC = Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1]); // ELF, 64 bits, little-endian

const HEADER = { phoff: 32, shoff: 40, phnum: 56, shnum: 60, shstrndx: 62 } as const;
const SEGMENT = { bytes: 56, offset: 8, filesz: 32 } as const;
const SECTION = { bytes: 64, name: 0, flags: 8, offset: 24, size: 32, link: 40, info: 44 } as const;
const SHF_ALLOC = 2n;
const SHF_INFO_LINK = 0x40n;

/**
 * The program with what is loaded, and nothing else. It must be a linked one, in which all that is
 * loaded stands before all that is not.
 */
export function stripElf(program: Buffer): Buffer {
  if (!program.subarray(0, MAGIC.length).equals(MAGIC)) throw new Error('not a 64-bit ELF program');
  const sections = sectionsOf(program);
  const names = sections[program.readUInt16LE(HEADER.shstrndx)];
  if (names === undefined) throw new Error('the ELF program names no sections');
  // The first section is the empty one that every table begins with.
  const kept = sections.filter(
    (section, index) => index === 0 || (section.readBigUInt64LE(SECTION.flags) & SHF_ALLOC) !== 0n,
  );
  kept.push(names);
  const loadedEnd = endOfSegments(program);
  const nameBytes = contentOf(program, names);
  const tableAt = align(loadedEnd + nameBytes.length, 16);

  const table = kept.map((section) => {
    const copy = Buffer.from(section);
    copy.writeUInt32LE(newIndex(sections, kept, section.readUInt32LE(SECTION.link)), SECTION.link);
    if ((section.readBigUInt64LE(SECTION.flags) & SHF_INFO_LINK) !== 0n)
      copy.writeUInt32LE(
        newIndex(sections, kept, section.readUInt32LE(SECTION.info)),
        SECTION.info,
      );
    if (section === names) copy.writeBigUInt64LE(BigInt(loadedEnd), SECTION.offset);
    return copy;
  });

  const stripped = Buffer.alloc(tableAt + table.length * SECTION.bytes);
  program.copy(stripped, 0, 0, loadedEnd);
  nameBytes.copy(stripped, loadedEnd);
  Buffer.concat(table).copy(stripped, tableAt);
  stripped.writeBigUInt64LE(BigInt(tableAt), HEADER.shoff);
  stripped.writeUInt16LE(kept.length, HEADER.shnum);
  stripped.writeUInt16LE(kept.length - 1, HEADER.shstrndx);
  return stripped;
}

function sectionsOf(program: Buffer): readonly Buffer[] {
  const at = Number(program.readBigUInt64LE(HEADER.shoff));
  return Array.from({ length: program.readUInt16LE(HEADER.shnum) }, (_, index) =>
    program.subarray(at + index * SECTION.bytes, at + (index + 1) * SECTION.bytes),
  );
}

function endOfSegments(program: Buffer): number {
  const at = Number(program.readBigUInt64LE(HEADER.phoff));
  let end = 0;
  for (let index = 0; index < program.readUInt16LE(HEADER.phnum); index += 1) {
    const segment = program.subarray(at + index * SEGMENT.bytes, at + (index + 1) * SEGMENT.bytes);
    const offset = segment.readBigUInt64LE(SEGMENT.offset);
    end = Math.max(end, Number(offset + segment.readBigUInt64LE(SEGMENT.filesz)));
  }
  return end;
}

function contentOf(program: Buffer, section: Buffer): Buffer {
  const at = Number(section.readBigUInt64LE(SECTION.offset));
  return program.subarray(at, at + Number(section.readBigUInt64LE(SECTION.size)));
}

/** A section that is gone is linked to as none. */
function newIndex(before: readonly Buffer[], after: readonly Buffer[], index: number): number {
  const section = before[index];
  return section === undefined ? 0 : Math.max(0, after.indexOf(section));
}

function align(offset: number, to: number): number {
  return Math.ceil(offset / to) * to;
}
