/** A provider that reports each of its responses, so that a caller can limit the time of each request. */
import type { Provider } from '../providers/provider.ts';

/** The same provider, which calls `onResponse` with each response. */
export function notifyOnResponse(provider: Provider, onResponse: () => void): Provider {
  const reported = async <T>(response: Promise<T>): Promise<T> => {
    const value = await response;
    onResponse();
    return value;
  };
  return {
    ...provider,
    describe: (signal) => reported(provider.describe(signal)),
    encrypt: (items, version, signal) => reported(provider.encrypt(items, version, signal)),
    decrypt: (items, signal) => reported(provider.decrypt(items, signal)),
  };
}
