/**
 * Writes src/kms/codec/*.ts from proto/*.proto: a type, an encoder and a decoder for each message,
 * straight on protobufjs's Reader and Writer, so that nothing is reflected upon at start.
 * `--check` writes nothing and fails where a file differs.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import protobuf from 'protobufjs';

const PROTOS = ['v1beta1', 'v2'] as const;
const OUTPUT = 'src/kms/codec';

type Scalar = 'string' | 'bytes';
type FieldShape = { name: string; id: number; scalar: Scalar; map: boolean };

function main(check: boolean): void {
  mkdirSync(OUTPUT, { recursive: true });
  const stale = PROTOS.filter((name) => {
    const path = `${OUTPUT}/${name}.ts`;
    const text = generate(name, readFileSync(`proto/${name}.proto`, 'utf8'));
    if (check) return readIfThere(path) !== text;
    writeFileSync(path, text);
    return false;
  });
  if (stale.length > 0) {
    process.stderr.write(`not as proto/ says: ${stale.join(', ')}; run make generate\n`);
    process.exitCode = 1;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function generate(name: string, proto: string): string {
  const { root } = protobuf.parse(proto, { keepCase: true });
  const messages = (root.lookup(name) as protobuf.Namespace).nestedArray.filter(
    (nested) => nested instanceof protobuf.Type,
  );
  const shapes = messages.map((type) => ({
    name: type.name,
    fields: type.fieldsArray.map(shapeOf),
  }));
  const usesMaps = shapes.some(({ fields }) => fields.some(({ map }) => map));
  return [
    `// Generated from proto/${name}.proto by scripts/generate-codecs.ts; do not edit.`,
    `import protobuf from 'protobufjs/minimal.js';`,
    '',
    'const { Reader, Writer } = protobuf;',
    'const NO_BYTES = new Uint8Array(0);',
    ...(usesMaps ? ['const NO_ENTRIES: ReadonlyMap<string, Uint8Array> = new Map();'] : []),
    ...shapes.flatMap(({ name: message, fields }) => ['', ...emit(message, fields)]),
    ...(usesMaps ? ['', MAP_CODEC] : []),
    '',
  ].join('\n');
}

function shapeOf(field: protobuf.Field): FieldShape {
  if (field.type !== 'string' && field.type !== 'bytes') {
    throw new Error(`${field.fullName}: ${field.type} is not generated; teach this script`);
  }
  const map = field instanceof protobuf.MapField;
  if (map && (field.keyType !== 'string' || field.type !== 'bytes')) {
    throw new Error(`${field.fullName}: only map<string, bytes> is generated; teach this script`);
  }
  return { name: field.name, id: field.id, scalar: field.type, map };
}

function typeOf(field: FieldShape): string {
  if (field.map) return 'ReadonlyMap<string, Uint8Array>';
  return field.scalar === 'string' ? 'string' : 'Uint8Array';
}

function emptyOf(field: FieldShape): string {
  if (field.map) return 'NO_ENTRIES';
  return field.scalar === 'string' ? `''` : 'NO_BYTES';
}

function emit(message: string, fields: readonly FieldShape[]): string[] {
  if (fields.length === 0) {
    return [
      `export type ${message} = Readonly<Record<never, never>>;`,
      `export function encode${message}(_message: ${message}): Uint8Array {`,
      '  return NO_BYTES;',
      '}',
      `export function decode${message}(_bytes: Uint8Array): ${message} {`,
      '  return {};',
      '}',
    ];
  }
  return [
    `export type ${message} = {`,
    ...fields.map((field) => `  readonly ${field.name}: ${typeOf(field)};`),
    '};',
    `export function encode${message}(message: ${message}): Uint8Array {`,
    '  const writer = Writer.create();',
    ...fields.flatMap(emitWrite),
    '  return writer.finish();',
    '}',
    `export function decode${message}(bytes: Uint8Array): ${message} {`,
    '  const reader = Reader.create(bytes);',
    ...fields.map((field) =>
      field.map
        ? `  let ${field.name}: Map<string, Uint8Array> | undefined;`
        : `  let ${field.name}: ${typeOf(field)} = ${emptyOf(field)};`,
    ),
    '  while (reader.pos < reader.len) {',
    '    const tag = reader.uint32();',
    '    switch (tag) {',
    ...fields.flatMap(emitRead),
    '      default:',
    '        reader.skipType(tag & 7);',
    '    }',
    '  }',
    `  return { ${fields.map((f) => (f.map ? `${f.name}: ${f.name} ?? NO_ENTRIES` : f.name)).join(', ')} };`,
    '}',
  ];
}

/** All generated fields are length-delimited, wire type 2. */
function tagOf(field: FieldShape): number {
  return (field.id << 3) | 2;
}

function emitWrite(field: FieldShape): string[] {
  const value = `message.${field.name}`;
  if (field.map) {
    return [
      `  for (const [key, value] of ${value}) writeEntry(writer.uint32(${tagOf(field)}), key, value);`,
    ];
  }
  const guard = field.scalar === 'string' ? `${value} !== ''` : `${value}.length > 0`;
  return [`  if (${guard}) writer.uint32(${tagOf(field)}).${field.scalar}(${value});`];
}

function emitRead(field: FieldShape): string[] {
  const read = field.map
    ? [`        ${field.name} ??= new Map();`, `        readEntry(reader, ${field.name});`]
    : [`        ${field.name} = reader.${field.scalar}();`];
  return [`      case ${tagOf(field)}:`, ...read, '        break;'];
}

const MAP_CODEC = `function writeEntry(writer: protobuf.Writer, key: string, value: Uint8Array): void {
  writer.fork().uint32(10).string(key).uint32(18).bytes(value).ldelim();
}

function readEntry(reader: protobuf.Reader, into: Map<string, Uint8Array>): void {
  const end = reader.uint32() + reader.pos;
  let key = '';
  let value: Uint8Array = NO_BYTES;
  while (reader.pos < end) {
    const tag = reader.uint32();
    if (tag === 10) key = reader.string();
    else if (tag === 18) value = reader.bytes();
    else reader.skipType(tag & 7);
  }
  into.set(key, value);
}`;

main(process.argv.includes('--check'));
