// Generated from proto/v2.proto by scripts/generate-codecs.ts; do not edit.
import protobuf from 'protobufjs/minimal.js';

const { Reader, Writer } = protobuf;
const NO_BYTES = new Uint8Array(0);
const NO_ENTRIES: ReadonlyMap<string, Uint8Array> = new Map();

export type StatusRequest = Readonly<Record<never, never>>;
export function encodeStatusRequest(_message: StatusRequest): Uint8Array {
  return NO_BYTES;
}
export function decodeStatusRequest(_bytes: Uint8Array): StatusRequest {
  return {};
}

export type StatusResponse = {
  readonly version: string;
  readonly healthz: string;
  readonly key_id: string;
};
export function encodeStatusResponse(message: StatusResponse): Uint8Array {
  const writer = Writer.create();
  if (message.version !== '') writer.uint32(10).string(message.version);
  if (message.healthz !== '') writer.uint32(18).string(message.healthz);
  if (message.key_id !== '') writer.uint32(26).string(message.key_id);
  return writer.finish();
}
export function decodeStatusResponse(bytes: Uint8Array): StatusResponse {
  const reader = Reader.create(bytes);
  let version: string = '';
  let healthz: string = '';
  let key_id: string = '';
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        version = reader.string();
        break;
      case 18:
        healthz = reader.string();
        break;
      case 26:
        key_id = reader.string();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { version, healthz, key_id };
}

export type DecryptRequest = {
  readonly ciphertext: Uint8Array;
  readonly uid: string;
  readonly key_id: string;
  readonly annotations: ReadonlyMap<string, Uint8Array>;
};
export function encodeDecryptRequest(message: DecryptRequest): Uint8Array {
  const writer = Writer.create();
  if (message.ciphertext.length > 0) writer.uint32(10).bytes(message.ciphertext);
  if (message.uid !== '') writer.uint32(18).string(message.uid);
  if (message.key_id !== '') writer.uint32(26).string(message.key_id);
  for (const [key, value] of message.annotations) writeEntry(writer.uint32(34), key, value);
  return writer.finish();
}
export function decodeDecryptRequest(bytes: Uint8Array): DecryptRequest {
  const reader = Reader.create(bytes);
  let ciphertext: Uint8Array = NO_BYTES;
  let uid: string = '';
  let key_id: string = '';
  let annotations: Map<string, Uint8Array> | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        ciphertext = reader.bytes();
        break;
      case 18:
        uid = reader.string();
        break;
      case 26:
        key_id = reader.string();
        break;
      case 34:
        annotations ??= new Map();
        readEntry(reader, annotations);
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { ciphertext, uid, key_id, annotations: annotations ?? NO_ENTRIES };
}

export type DecryptResponse = {
  readonly plaintext: Uint8Array;
};
export function encodeDecryptResponse(message: DecryptResponse): Uint8Array {
  const writer = Writer.create();
  if (message.plaintext.length > 0) writer.uint32(10).bytes(message.plaintext);
  return writer.finish();
}
export function decodeDecryptResponse(bytes: Uint8Array): DecryptResponse {
  const reader = Reader.create(bytes);
  let plaintext: Uint8Array = NO_BYTES;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        plaintext = reader.bytes();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { plaintext };
}

export type EncryptRequest = {
  readonly plaintext: Uint8Array;
  readonly uid: string;
};
export function encodeEncryptRequest(message: EncryptRequest): Uint8Array {
  const writer = Writer.create();
  if (message.plaintext.length > 0) writer.uint32(10).bytes(message.plaintext);
  if (message.uid !== '') writer.uint32(18).string(message.uid);
  return writer.finish();
}
export function decodeEncryptRequest(bytes: Uint8Array): EncryptRequest {
  const reader = Reader.create(bytes);
  let plaintext: Uint8Array = NO_BYTES;
  let uid: string = '';
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        plaintext = reader.bytes();
        break;
      case 18:
        uid = reader.string();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { plaintext, uid };
}

export type EncryptResponse = {
  readonly ciphertext: Uint8Array;
  readonly key_id: string;
  readonly annotations: ReadonlyMap<string, Uint8Array>;
};
export function encodeEncryptResponse(message: EncryptResponse): Uint8Array {
  const writer = Writer.create();
  if (message.ciphertext.length > 0) writer.uint32(10).bytes(message.ciphertext);
  if (message.key_id !== '') writer.uint32(18).string(message.key_id);
  for (const [key, value] of message.annotations) writeEntry(writer.uint32(26), key, value);
  return writer.finish();
}
export function decodeEncryptResponse(bytes: Uint8Array): EncryptResponse {
  const reader = Reader.create(bytes);
  let ciphertext: Uint8Array = NO_BYTES;
  let key_id: string = '';
  let annotations: Map<string, Uint8Array> | undefined;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        ciphertext = reader.bytes();
        break;
      case 18:
        key_id = reader.string();
        break;
      case 26:
        annotations ??= new Map();
        readEntry(reader, annotations);
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { ciphertext, key_id, annotations: annotations ?? NO_ENTRIES };
}

function writeEntry(writer: protobuf.Writer, key: string, value: Uint8Array): void {
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
}
