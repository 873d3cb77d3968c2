import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
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
  const open = (secret: string, place: string, sealed: Uint8Array | undefined): Uint8Array | undefined => {
    if (sealed === undefined) return undefined;
    try {
      return unseal(secret, place, sealed);
    } catch (error) {
      // Changed in the store: as good as not there.
      onUnreadable(error);
      return undefined;
    }
  };
  return {
    async get(secret) {
      const place = placeOf(secret);
      return open(secret, place, await keep.get(place));
    },
    async put(secret, value, ttlMs) {
      const place = placeOf(secret);
      await keep.put(place, seal(secret, place, value), ttlMs);
    },
    async claim(secret) {
      const place = placeOf(secret);
      return open(secret, place, await keep.claim(place));
    },
    close: () => keep.close(),
  };
}

function placeOf(secret: string): string {
  return createHmac('sha256', secret).update('warp2api keep: place').digest('base64url');
}

function sealingKey(secret: string): Buffer {
  return createHmac('sha256', secret).update('warp2api keep: seal').digest();
}

function seal(secret: string, place: string, value: Uint8Array): Uint8Array {
  // A key seals few entries (the same conversation answered again), so random nonces never meet.
  const nonce = randomBytes(nonceBytes);
  const sealing = createCipheriv(cipher, sealingKey(secret), nonce).setAAD(Buffer.from(place));
  // Memory of its own, not a piece of Node's shared slab: that would live and travel as a whole.
  const sealed = Buffer.allocUnsafeSlow(headBytes + value.length);
  sealing.update(value).copy(sealed, headBytes);
  sealing.final();
  sealed[0] = version;
  nonce.copy(sealed, 1);
  sealing.getAuthTag().copy(sealed, 1 + nonceBytes);
  return sealed;
}

function unseal(secret: string, place: string, sealed: Uint8Array): Uint8Array {
  if (sealed[0] !== version || sealed.length < headBytes) {
    throw new Error('an entry of the keep is no seal of this release');
  }
  const opening = createDecipheriv(cipher, sealingKey(secret), sealed.subarray(1, 1 + nonceBytes), {
    authTagLength: tagBytes,
  })
    .setAAD(Buffer.from(place))
    .setAuthTag(sealed.subarray(1 + nonceBytes, headBytes));
  const value = opening.update(sealed.subarray(headBytes));
  opening.final();
  return value;
}
