import { createCipheriv, createDecipheriv, hash, randomFillSync } from 'node:crypto';
import type { Keep } from './keep.ts';

/** The shape of a seal: this byte, the nonce, the tag, what was sealed. */
const version = 1;
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = 1 + nonceBytes + tagBytes;
const cipher = 'aes-256-gcm';

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
      return unseal(key, sealed);
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
      await keep.put(place, seal(key, value), ttlMs);
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

function seal(key: Buffer, value: Uint8Array): Uint8Array {
  // Memory of its own, not a piece of Node's shared slab: that would live and travel as a whole.
  const sealed = Buffer.allocUnsafeSlow(headBytes + value.length);
  sealed[0] = version;
  // A key seals few entries (the same conversation answered again), so random nonces never meet.
  const nonce = nextNonce();
  nonce.copy(sealed, 1);
  const sealing = createCipheriv(cipher, key, nonce);
  sealing.update(value).copy(sealed, headBytes);
  sealing.final();
  sealing.getAuthTag().copy(sealed, 1 + nonceBytes);
  return sealed;
}

function unseal(key: Buffer, sealed: Uint8Array): Uint8Array {
  if (sealed[0] !== version || sealed.length < headBytes) {
    throw new Error('an entry of the keep is no seal of this release');
  }
  const nonce = sealed.subarray(1, 1 + nonceBytes);
  const opening = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes });
  opening.setAuthTag(sealed.subarray(1 + nonceBytes, headBytes));
  const value = opening.update(sealed.subarray(headBytes));
  opening.final();
  return value;
}

/** Random bytes come dear one by one. */
const nonces = Buffer.alloc(nonceBytes * 256);
let nonceAt = nonces.length;

function nextNonce(): Buffer {
  if (nonceAt === nonces.length) {
    randomFillSync(nonces);
    nonceAt = 0;
  }
  nonceAt += nonceBytes;
  return nonces.subarray(nonceAt - nonceBytes, nonceAt);
}
