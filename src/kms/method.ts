/** A unary method of a KMS API, free of gRPC's machinery: bytes in, bytes or a failure out. */
import type { CallSignal } from '../system/call-signal.ts';
import { invalidArgument, type Reply, reply } from './status.ts';

/** What a method is told of the call beside its message. */
export type CallContext = {
  /** Aborts shortly before the caller's deadline, and when the caller goes away. */
  readonly signal: CallSignal;
};

/** What the log may say of a call: never what was in it. */
export type CallFacts = { readonly uid?: string; readonly keyVersion?: number | undefined };

export type Answer<Response> = { readonly reply: Reply<Response>; readonly facts?: CallFacts };

export type Method = {
  /** The service and the method, e.g. `/v2.KeyManagementService/Encrypt`. */
  readonly path: string;
  /** A local method never leaves the process: it answers at once and is given no deadline. */
  readonly call:
    | { readonly local: (request: Uint8Array, host: string) => Answer<Uint8Array> }
    | {
        readonly remote: (
          request: Uint8Array,
          context: CallContext,
        ) => Answer<Uint8Array> | Promise<Answer<Uint8Array>>;
      };
};

/** How the messages of a method become bytes and back. */
export type Codec<Request, Response> = {
  readonly decode: (bytes: Uint8Array) => Request;
  readonly encode: (response: Response) => Uint8Array;
  /** Overwrites what was secret in a response once it has been encoded. */
  readonly wipe?: (response: Response) => void;
};

/** A method that is answered from memory. `host` is the `:authority` of the call. */
export function localMethod<Request, Response>(
  path: string,
  codec: Codec<Request, Response>,
  handle: (request: Request, host: string) => Answer<Response>,
): Method {
  return {
    path,
    call: {
      local(bytes, host) {
        const request = decode(codec, bytes);
        return request === undefined ? MALFORMED : encode(codec, handle(request, host));
      },
    },
  };
}

/** A method that a provider is needed for. */
export function remoteMethod<Request, Response>(
  path: string,
  codec: Codec<Request, Response>,
  handle: (request: Request, context: CallContext) => Promise<Answer<Response>>,
): Method {
  return {
    path,
    call: {
      remote(bytes, context) {
        const request = decode(codec, bytes);
        if (request === undefined) return MALFORMED;
        return handle(request, context).then((answer) => encode(codec, answer));
      },
    },
  };
}

const MALFORMED: Answer<never> = {
  reply: invalidArgument('the request is not a message of this method'),
};

function decode<Request>(
  { decode }: Codec<Request, never>,
  bytes: Uint8Array,
): Request | undefined {
  try {
    return decode(bytes);
  } catch (error) {
    // protobufjs throws a RangeError where bytes end too early, an Error at an unknown wire type.
    if (error instanceof Error) return undefined;
    throw error;
  }
}

function encode<Response>(
  codec: Codec<unknown, Response>,
  { reply: answered, facts }: Answer<Response>,
): Answer<Uint8Array> {
  if (!answered.ok) return answerOf(answered, facts);
  const bytes = codec.encode(answered.message);
  codec.wipe?.(answered.message);
  return answerOf(reply(bytes), facts);
}

function answerOf<Response>(
  answered: Reply<Response>,
  facts: CallFacts | undefined,
): Answer<Response> {
  return facts === undefined ? { reply: answered } : { reply: answered, facts };
}
