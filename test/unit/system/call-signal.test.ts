import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type CallSignal, createCallController } from '../../../src/system/call-signal.ts';

/** The real one and ours must not differ in what is used. */
const kinds: readonly (readonly [string, () => { signal: CallSignal; abort(): void }])[] = [
  ['an AbortController', () => new AbortController()],
  ['a call controller', createCallController],
];

for (const [name, create] of kinds) {
  describe(name, () => {
    it('tells each listener once, in their order, and is aborted then', () => {
      const controller = create();
      const told: string[] = [];
      controller.signal.addEventListener('abort', () => told.push('a'));
      controller.signal.addEventListener('abort', () => told.push('b'), { once: true });
      assert.equal(controller.signal.aborted, false);
      controller.abort();
      controller.abort();
      assert.equal(controller.signal.aborted, true);
      assert.deepEqual(told, ['a', 'b']);
    });

    it('does not tell one that has left, nor one that comes too late', () => {
      const controller = create();
      const told: string[] = [];
      const leaving = (): void => void told.push('left');
      controller.signal.addEventListener('abort', leaving);
      controller.signal.removeEventListener('abort', leaving);
      controller.abort();
      controller.signal.addEventListener('abort', () => told.push('late'));
      assert.deepEqual(told, []);
    });

    it('lets a listener take another one away, or itself', () => {
      const controller = create();
      const { signal } = controller;
      const told: string[] = [];
      const first = (): void => {
        told.push('first');
        signal.removeEventListener('abort', first);
      };
      signal.addEventListener('abort', first);
      signal.addEventListener('abort', () => told.push('second'));
      controller.abort();
      assert.deepEqual(told, ['first', 'second']);
    });
  });
}
