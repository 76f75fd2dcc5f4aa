// Generated from proto/v1beta1.proto by scripts/generate-codecs.ts; do not edit.
import protobuf from 'protobufjs/minimal.js';

const { Reader, Writer } = protobuf;
const NO_BYTES = new Uint8Array(0);

export type VersionRequest = {
  readonly version: string;
};
export function encodeVersionRequest(message: VersionRequest): Uint8Array {
  const writer = Writer.create();
  if (message.version !== '') writer.uint32(10).string(message.version);
  return writer.finish();
}
export function decodeVersionRequest(bytes: Uint8Array): VersionRequest {
  const reader = Reader.create(bytes);
  let version: string = '';
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        version = reader.string();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { version };
}

export type VersionResponse = {
  readonly version: string;
  readonly runtime_name: string;
  readonly runtime_version: string;
};
export function encodeVersionResponse(message: VersionResponse): Uint8Array {
  const writer = Writer.create();
  if (message.version !== '') writer.uint32(10).string(message.version);
  if (message.runtime_name !== '') writer.uint32(18).string(message.runtime_name);
  if (message.runtime_version !== '') writer.uint32(26).string(message.runtime_version);
  return writer.finish();
}
export function decodeVersionResponse(bytes: Uint8Array): VersionResponse {
  const reader = Reader.create(bytes);
  let version: string = '';
  let runtime_name: string = '';
  let runtime_version: string = '';
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        version = reader.string();
        break;
      case 18:
        runtime_name = reader.string();
        break;
      case 26:
        runtime_version = reader.string();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { version, runtime_name, runtime_version };
}

export type DecryptRequest = {
  readonly version: string;
  readonly cipher: Uint8Array;
};
export function encodeDecryptRequest(message: DecryptRequest): Uint8Array {
  const writer = Writer.create();
  if (message.version !== '') writer.uint32(10).string(message.version);
  if (message.cipher.length > 0) writer.uint32(18).bytes(message.cipher);
  return writer.finish();
}
export function decodeDecryptRequest(bytes: Uint8Array): DecryptRequest {
  const reader = Reader.create(bytes);
  let version: string = '';
  let cipher: Uint8Array = NO_BYTES;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        version = reader.string();
        break;
      case 18:
        cipher = reader.bytes();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { version, cipher };
}

export type DecryptResponse = {
  readonly plain: Uint8Array;
};
export function encodeDecryptResponse(message: DecryptResponse): Uint8Array {
  const writer = Writer.create();
  if (message.plain.length > 0) writer.uint32(10).bytes(message.plain);
  return writer.finish();
}
export function decodeDecryptResponse(bytes: Uint8Array): DecryptResponse {
  const reader = Reader.create(bytes);
  let plain: Uint8Array = NO_BYTES;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        plain = reader.bytes();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { plain };
}

export type EncryptRequest = {
  readonly version: string;
  readonly plain: Uint8Array;
};
export function encodeEncryptRequest(message: EncryptRequest): Uint8Array {
  const writer = Writer.create();
  if (message.version !== '') writer.uint32(10).string(message.version);
  if (message.plain.length > 0) writer.uint32(18).bytes(message.plain);
  return writer.finish();
}
export function decodeEncryptRequest(bytes: Uint8Array): EncryptRequest {
  const reader = Reader.create(bytes);
  let version: string = '';
  let plain: Uint8Array = NO_BYTES;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        version = reader.string();
        break;
      case 18:
        plain = reader.bytes();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { version, plain };
}

export type EncryptResponse = {
  readonly cipher: Uint8Array;
};
export function encodeEncryptResponse(message: EncryptResponse): Uint8Array {
  const writer = Writer.create();
  if (message.cipher.length > 0) writer.uint32(10).bytes(message.cipher);
  return writer.finish();
}
export function decodeEncryptResponse(bytes: Uint8Array): EncryptResponse {
  const reader = Reader.create(bytes);
  let cipher: Uint8Array = NO_BYTES;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    switch (tag) {
      case 10:
        cipher = reader.bytes();
        break;
      default:
        reader.skipType(tag & 7);
    }
  }
  return { cipher };
}
