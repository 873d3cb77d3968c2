import { hash } from 'node:crypto';
import { sealBytes, unsealBytes } from '../../lib/sealed-bytes.ts';
import { type Keep, maxEntryBytes } from './keep.ts';

/**
 * A keep whose keys are secrets that the store never gets: a digest over something only the caller has, such as a
 * client's key together with what it sent, or the id of a response. Where an entry lies and the key that seals it are
 * both derived from that secret. Whoever has the database alone finds nothing and reads nothing, there is no key to look
 * after, and restarts and other instances just work. It is as good as the secret is hard to guess: where clients show no
 * key, somebody with the database can try whether he knows a conversation word for word.
 */
export function createSealedKeep(keep: Keep, onUnreadable: (error: unknown) => void): Keep {
  const open = (key: Buffer, sealed: Uint8Array | undefined): Uint8Array | undefined => {
    if (sealed === undefined) return undefined;
    try {
      return unsealBytes(key, sealed);
    } catch (error) {
      // Changed in the store: as good as not there.
      onUnreadable(error);
      return undefined;
    }
  };
  return {
    async get(secret) {
      const { place, key } = derive(secret);
      return open(key, await keep.get(place));
    },
    async put(secret, value, ttlMs) {
      const { place, key } = derive(secret);
      // No keep takes it, and what was there before is out of date: spares a copy and the sealing.
      if (value.length > maxEntryBytes) return void (await keep.claim(place));
      await keep.put(place, sealBytes(key, value), ttlMs);
    },
    async claim(secret) {
      const { place, key } = derive(secret);
      return open(key, await keep.claim(place));
    },
    close: () => keep.close(),
  };
}

/**
 * Two halves of one digest: who sees the place learns nothing about the key. The secret is a digest itself, so it needs no
 * stretching, and this runs twice a turn: an HMAC or HKDF for each would cost several times as much. As the key belongs to
 * the place, an entry moved to another place cannot be read there.
 */
function derive(secret: string): { readonly place: string; readonly key: Buffer } {
  const digest = hash('sha512', `warp2api keep 1\n${secret}`, 'buffer');
  return { place: digest.toString('base64url', 0, 32), key: digest.subarray(32) };
}
