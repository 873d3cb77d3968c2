import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { Opaque } from '../protocols/openai-responses/opaque.ts';

const ivBytes = 12;
const tagBytes = 16;
/** The first byte tells how the rest was made. */
const version = 1;

/**
 * Text a client carries for us and sends back: sealed with AES-256-GCM under a key derived from its own client key. So
 * every instance can read it, after a restart too, with nothing to keep or to lose; other clients can neither read nor
 * make one. That a client could read its own is no harm: it is its own conversation.
 */
export function createOpaque(clientId: string): Opaque {
  let key: Buffer | undefined;
  const keyOf = (): Buffer => {
    key ??= Buffer.from(hkdfSync('sha256', clientId, '', 'warp2api text that clients carry', 32));
    return key;
  };
  return {
    seal(text) {
      const iv = randomBytes(ivBytes);
      const cipher = createCipheriv('aes-256-gcm', keyOf(), iv);
      const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
      return Buffer.concat([Buffer.of(version), iv, sealed, cipher.getAuthTag()]).toString('base64url');
    },
    open(text) {
      const bytes = Buffer.from(text, 'base64url');
      if (bytes[0] !== version || bytes.length < 1 + ivBytes + tagBytes) return undefined;
      const decipher = createDecipheriv('aes-256-gcm', keyOf(), bytes.subarray(1, 1 + ivBytes));
      decipher.setAuthTag(bytes.subarray(-tagBytes));
      try {
        const sealed = bytes.subarray(1 + ivBytes, -tagBytes);
        return Buffer.concat([decipher.update(sealed), decipher.final()]).toString('utf8');
      } catch {
        // Another key's, or changed on the way.
        return undefined;
      }
    },
  };
}
