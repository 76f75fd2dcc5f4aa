/** A provider that tells when it answers, so that who waits for several answers can limit each of them. */
import type { Provider } from '../providers/provider.ts';

/** The same provider, which calls back with each answer. */
export function announcingAnswers(provider: Provider, answered: () => void): Provider {
  const noted = async <T>(answer: Promise<T>): Promise<T> => {
    const value = await answer;
    answered();
    return value;
  };
  return {
    ...provider,
    describe: (signal) => noted(provider.describe(signal)),
    encrypt: (items, version, signal) => noted(provider.encrypt(items, version, signal)),
    decrypt: (items, signal) => noted(provider.decrypt(items, signal)),
  };
}
