/** The seed that a kube-apiserver asks for when it starts while the provider is away. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Encrypted } from '../../../src/keyring/operations.ts';
import { createDrivenClock } from '../driven-clock.ts';
import { createFakeProvider } from '../fake-provider.ts';
import {
  announcedBy,
  bytes,
  comeBack,
  goAway,
  HOUR,
  keyringUnderTest,
  MINUTE,
  NEXT,
  type Node,
  patience,
  reading,
  SEED,
  type Setup,
  sealed,
  seeding,
  startNode,
} from './outage-under-test.ts';

type OfAnOutage = Encrypted & { readonly localKek: Uint8Array };

async function encrypted(setup: Setup): Promise<OfAnOutage> {
  const outcome = await setup.keyring.encrypt(NEXT, 'seed', patience());
  assert.ok(outcome.ok);
  const { localKek } = outcome.value;
  assert.ok(localKek !== undefined);
  return { ...outcome.value, localKek };
}

async function readBy({ keyring }: Node, stored: OfAnOutage): Promise<Buffer> {
  const { ciphertext, localKek, keyId } = stored;
  const asked = { ciphertext, localKek, keyId, purpose: 'seed' } as const;
  const decrypted = await keyring.decrypt(asked, patience());
  assert.ok(decrypted.ok);
  return Buffer.from(decrypted.value);
}

const text = (ciphertext: Uint8Array): string => Buffer.from(ciphertext).toString('latin1');

function sourcesOf({ localKek }: OfAnOutage): readonly string[] {
  const lines = text(localKek).split('\n');
  return lines.map((line) => line.split(' ')[0] ?? '');
}

describe('a seed in an outage', () => {
  it('is encrypted under a local KEK, with the key_id that Status announces', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const before = { ...setup.provider.calls };
    const made = await encrypted(setup);
    assert.deepEqual([made.keyId, made.version], [setup.keyId, 1]);
    assert.deepEqual(sourcesOf(made), [text(setup.ciphertext)]);
    assert.equal(setup.keyring.versionOf(made.ciphertext), 1);
    assert.deepEqual(setup.provider.calls, before);
    assert.ok(setup.lines.some((line) => line.includes('seed encrypted under a local KEK')));
  });

  it('is decrypted in the same outage, and in each later one', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const made = await encrypted(setup);
    for (let outage = 0; outage < 3; outage += 1) {
      assert.deepEqual(await readBy(setup, made), NEXT);
      await comeBack(setup);
      await setup.clock.advance(3 * HOUR);
      await goAway(setup);
    }
  });

  it('is decrypted by whoever may use the key, since it needs nothing of this process', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const made = await encrypted(setup);
    delete setup.provider.failing.all;
    assert.deepEqual(await readBy(await startNode(setup.provider, setup.clock), made), NEXT);
  });

  const meetings: readonly [string, (here: Setup, there: Node) => Promise<void>][] = [
    [
      'has read what this one wrote before',
      async ({ ciphertext, keyId }, there) => {
        const asked = { ciphertext, keyId, purpose: 'seed' } as const;
        assert.ok((await there.keyring.decrypt(asked, patience())).ok);
      },
    ],
  ];
  for (const [what, meet] of meetings) {
    it(`is decrypted in the outage on another node that ${what}`, async () => {
      const setup = await keyringUnderTest();
      const other = await startNode(setup.provider, setup.clock);
      await meet(setup, other);
      await goAway(setup);
      assert.deepEqual(await readBy(other, await encrypted(setup)), NEXT);
    });
  }

  describe('is decrypted though damage was done to', () => {
    const damages: readonly [string, (line: string) => string][] = [
      ['the KEK that it holds', (line) => `${line.slice(0, -4)}AAAA`],
      ['the ciphertext of it', (line) => line.replace(/.{4}=* /, 'AAAA ')],
      ['it, which is another seed now', (line) => line.replace(/^\S+/, OTHER)],
      ['its version', (line) => line.replace(/^fake:v1:/, 'fake:v9:')],
      ['its kind', (line) => line.replace(/^fake:/, 'none:')],
    ];
    const OTHER = 'fake:v1:AAAA';
    for (const at of [0, 1, 2]) {
      for (const [what, damage] of damages) {
        for (const where of ['this node', 'another node', 'this node in the outage'] as const) {
          it(`source ${at + 1} of 3, ${what}, on ${where}`, async () => {
            const setup = await keyringUnderTest();
            for (let i = 0; i < 2; i += 1) assert.equal(await seeding(setup), 'ok');
            await goAway(setup);
            const made = await encrypted(setup);
            const lines = text(made.localKek).split('\n');
            assert.equal(lines.length, 3);
            lines[at] = damage(lines[at] ?? '');
            const damaged = { ...made, localKek: bytes(lines.join('\n')) };
            if (where !== 'this node in the outage') await comeBack(setup);
            const other = where === 'another node';
            const node = other ? await startNode(setup.provider, setup.clock) : setup;
            assert.deepEqual(await readBy(node, damaged), NEXT);
          });
        }
      }
    }
  });

  it('names four sources at most, those that this process has encrypted last', async () => {
    const setup = await keyringUnderTest();
    const own: string[] = [];
    for (let i = 0; i < 6; i += 1) {
      const made = await setup.keyring.encrypt(NEXT, 'seed', patience());
      assert.ok(made.ok);
      own.push(text(made.value.ciphertext));
      assert.equal(await reading(setup, await sealed(setup.provider)), 'ok');
    }
    await goAway(setup);
    assert.deepEqual(new Set(sourcesOf(await encrypted(setup))), new Set(own.slice(-4)));
  });

  it('is still encrypted when other things have filled the cache', async () => {
    const setup = await keyringUnderTest();
    for (let i = 0; i < 20; i += 1) assert.equal(await seeding(setup, 'dek'), 'ok');
    await goAway(setup);
    assert.equal(await seeding(setup), 'ok');
  });

  it('leaves neither seeds nor ciphertexts in the log', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    const { ciphertext, localKek } = await encrypted(setup);
    const log = setup.lines.join('');
    assert.match(log, /local KEK/);
    for (const secret of [NEXT, SEED, ciphertext, localKek, setup.ciphertext]) {
      assert.ok(!log.includes(text(secret)));
      assert.ok(!log.includes(Buffer.from(secret).toString('base64')));
    }
  });
});

describe('a seed in an outage has no source in', () => {
  const strangers: readonly [string, (setup: Setup) => Promise<void>][] = [
    [
      'a seed that was read under the announced key_id, which who can write to etcd chooses',
      async (setup) => {
        const ciphertext = await sealed(setup.provider);
        assert.equal(await reading(setup, ciphertext), 'ok');
        assert.equal(await reading(setup, ciphertext), 'ok');
      },
    ],
    [
      'a seed of a retired version that was stored under the announced key_id',
      async (setup) => {
        const ciphertext = await sealed(setup.provider);
        setup.provider.rotate(2_000);
        await setup.clock.advance(MINUTE);
        assert.equal(await reading(setup, ciphertext, announcedBy(setup)), 'ok');
      },
    ],
    [
      'a source of another local KEK, which was read to decrypt what is under that',
      async (setup) => {
        const there = await startNode(setup.provider, setup.clock);
        assert.ok((await there.keyring.encrypt(SEED, 'seed', patience())).ok);
        setup.provider.failing.all = 'unavailable';
        await setup.clock.advance(MINUTE);
        const made = await encrypted({ ...setup, ...there });
        delete setup.provider.failing.all;
        await setup.clock.advance(MINUTE);
        assert.deepEqual(await readBy(setup, made), NEXT);
      },
    ],
    [
      'a seed under another key_id, which another provider may have made',
      async (setup) => {
        const ciphertext = await sealed(setup.provider);
        assert.equal(await reading(setup, ciphertext, 'vault:v1:another'), 'ok');
      },
    ],
    [
      'a DEK of KMS v1',
      async (setup) => {
        const ciphertext = await sealed(setup.provider);
        const asked = { ciphertext, purpose: 'dek', keyId: setup.keyId } as const;
        assert.ok((await setup.keyring.decrypt(asked, patience())).ok);
      },
    ],
    [
      'a sample',
      async (setup) => {
        const sample = await setup.keyring.encrypt(SEED, 'sample', patience());
        assert.ok(sample.ok);
        const asked = { ...sample.value, purpose: 'sample' } as const;
        assert.ok((await setup.keyring.decrypt(asked, patience())).ok);
      },
    ],
    [
      'what is too short for a seed',
      async (setup) => {
        const short = await setup.keyring.encrypt(bytes('seventeen bytes!!'), 'seed', patience());
        assert.ok(short.ok);
      },
    ],
  ];
  for (const [what, meet] of strangers) {
    it(what, async () => {
      const provider = createFakeProvider();
      const clock = createDrivenClock(1_000_000);
      const node = await startNode(provider, clock);
      const setup = { ...node, provider, clock, ciphertext: SEED, keyId: announcedBy(node) };
      await meet(setup);
      assert.equal(setup.keyring.remembered()?.seeds, false);
      await goAway(setup);
      assert.equal(await seeding(setup), 'unavailable');
    });
  }

  it('a seed of an older version, so that it hangs on none that its key_id does not name', async () => {
    const setup = await keyringUnderTest();
    setup.provider.rotate(2_000);
    await setup.clock.advance(MINUTE);
    assert.equal(await reading(setup), 'ok');
    await goAway(setup);
    assert.equal(await seeding(setup), 'unavailable');
    await comeBack(setup);
    assert.equal(await seeding(setup), 'ok');
    await goAway(setup);
    const made = await encrypted(setup);
    assert.equal(made.version, 2);
    for (const source of sourcesOf(made)) assert.match(source, /^fake:v2:/);
  });

  it('a seed of a key that is lost, also where the provider goes away after that', async () => {
    const setup = await keyringUnderTest();
    setup.provider.recreate(9_000);
    await setup.clock.advance(MINUTE);
    setup.provider.failing.all = 'unavailable';
    await setup.clock.advance(MINUTE);
    assert.equal(setup.keyring.state().kind, 'lost');
    assert.equal(await seeding(setup), 'denied');
  });
});

describe('a seed is not encrypted under a local KEK whose sources may be lost', () => {
  const away: readonly [string, (setup: Setup) => Promise<void>][] = [
    ['a provider that was there all the time', async () => undefined],
    ['a provider that was away before', goAway],
  ];
  for (const [what, before] of away) {
    it(`while the announced version is missing at ${what}`, async () => {
      const setup = await keyringUnderTest();
      setup.provider.rotate(2_000);
      await setup.clock.advance(31_000);
      const made = await setup.keyring.encrypt(SEED, 'seed', patience());
      assert.ok(made.ok && made.value.version === 2);
      const { ciphertext, keyId } = made.value;
      await before(setup);
      delete setup.provider.failing.all;
      setup.provider.restore(1);
      // The next look.
      await setup.clock.advance(1_000);
      const seen = new Set<string>();
      for (let i = 0; i < 35; i += 1) {
        seen.add(await seeding(setup));
        // What it has decrypted lately is still read.
        assert.equal(await reading(setup, ciphertext, keyId), 'ok');
      }
      assert.deepEqual([...seen].sort(), ['behind', 'denied']);
      assert.equal(setup.keyring.state().kind, 'lost');
    });
  }
});

describe('a seed waits for the provider', () => {
  it('for ten seconds: what is away for a moment is asked again', async () => {
    const setup = await keyringUnderTest();
    setup.provider.failing.all = 'unavailable';
    assert.equal(await seeding(setup), 'unavailable');
    assert.equal(setup.keyring.state().kind, 'outage');
    await setup.clock.advance(10_000);
    assert.equal(await seeding(setup), 'ok');
  });

  for (const kind of ['throttled', 'internal'] as const) {
    it(`that is there, and answers with ${kind}`, async () => {
      const setup = await keyringUnderTest();
      setup.provider.failing.all = kind;
      await setup.clock.advance(MINUTE);
      assert.equal(setup.keyring.state().kind, 'outage');
      assert.equal(await seeding(setup), kind);
    });
  }

  it('where the earlier seeds have grown too old', async () => {
    const setup = await keyringUnderTest();
    await goAway(setup);
    await setup.clock.advance(HOUR);
    assert.equal(await seeding(setup), 'unavailable');
  });

  for (const purpose of ['dek', 'sample'] as const) {
    it(`where it is none, but a ${purpose}`, async () => {
      const setup = await keyringUnderTest();
      await goAway(setup);
      assert.equal(await seeding(setup, purpose), 'unavailable');
    });
  }
});
