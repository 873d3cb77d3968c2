import { type CipherGCMTypes, createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';

/**
 * AES-256-GCM, in two forms that both are stored: bytes (a version byte, nonce, tag, what was sealed), and texts that are
 * bound to where they belong (nonce, what was sealed, tag). Keys are 32 bytes. Nonces are random: a key is good for billions
 * of seals before two of them could meet.
 */
const cipher: CipherGCMTypes = 'aes-256-gcm';
const version = 1;
const nonceBytes = 12;
const tagBytes = 16;
const headBytes = 1 + nonceBytes + tagBytes;

export function sealBytes(key: Buffer, value: Uint8Array): Buffer {
  // Memory of its own, not a piece of Node's shared slab: that would live and travel as a whole.
  const sealed = Buffer.allocUnsafeSlow(headBytes + value.length);
  sealed[0] = version;
  const nonce = randomBytes(nonceBytes);
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
  return opened(
    key,
    sealed.subarray(1, 1 + nonceBytes),
    sealed.subarray(headBytes),
    sealed.subarray(1 + nonceBytes, headBytes),
  );
}

/** Base64url. It can be opened only with the same `boundTo`. */
export function sealText(key: Buffer, text: string, boundTo: Uint8Array): string {
  const nonce = randomBytes(nonceBytes);
  const sealing = createCipheriv(cipher, key, nonce).setAAD(boundTo);
  const body = [sealing.update(text, 'utf8'), sealing.final()];
  return Buffer.concat([nonce, ...body, sealing.getAuthTag()]).toString('base64url');
}

/** Undefined for what is too short to be a seal; throws when it was sealed otherwise, or was changed. */
export function unsealText(key: Buffer, sealed: string, boundTo: Uint8Array): string | undefined {
  const bytes = Buffer.from(sealed, 'base64url');
  if (bytes.length < nonceBytes + tagBytes) return undefined;
  const [nonce, body] = [bytes.subarray(0, nonceBytes), bytes.subarray(nonceBytes, -tagBytes)];
  return opened(key, nonce, body, bytes.subarray(-tagBytes), boundTo).toString('utf8');
}

function opened(
  key: Buffer,
  nonce: Uint8Array,
  body: Uint8Array,
  tag: Uint8Array,
  boundTo?: Uint8Array,
): Buffer {
  const opening = createDecipheriv(cipher, key, nonce, { authTagLength: tagBytes });
  if (boundTo !== undefined) opening.setAAD(boundTo);
  opening.setAuthTag(tag);
  const value = opening.update(body);
  opening.final();
  return value;
}
