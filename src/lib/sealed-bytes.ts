import { createCipheriv, createDecipheriv, randomFillSync } from 'node:crypto';

/** The shape of a seal: this byte, the nonce, the tag, what was sealed. */
const version = 1;
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = 1 + nonceBytes + tagBytes;
const cipher = 'aes-256-gcm';

/** `key` is 32 bytes. Nonces are random: a key is good for billions of seals before two of them could meet. */
export function sealBytes(key: Buffer, value: Uint8Array): Buffer {
  // Memory of its own, not a piece of Node's shared slab: that would live and travel as a whole.
  const sealed = Buffer.allocUnsafeSlow(headBytes + value.length);
  sealed[0] = version;
  const nonce = nextNonce();
  nonce.copy(sealed, 1);
  const sealing = createCipheriv(cipher, key, nonce);
  sealing.update(value).copy(sealed, headBytes);
  sealing.final();
  sealing.getAuthTag().copy(sealed, 1 + nonceBytes);
  return sealed;
}

/** Throws when it was sealed with another key, or was changed. */
export function unsealBytes(key: Buffer, sealed: Uint8Array): Buffer {
  if (sealed[0] !== version || sealed.length < headBytes) throw new Error('this is no seal of this release');
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
