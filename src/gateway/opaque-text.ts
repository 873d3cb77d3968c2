import { hkdfSync } from 'node:crypto';
import { sealBytes, unsealBytes } from '../lib/secrets/sealed-bytes.ts';
import type { Opaque } from '../protocols/openai-responses/opaque.ts';

/** A history may be full of texts that other providers sealed; after this many in one request no further one is tried. */
const mostForeign = 10_000;

/**
 * Text a client carries for us and sends back: sealed with AES-256-GCM under a key derived from its own client key. So
 * every instance can read it, after a restart too, with nothing to keep or to lose; other clients can neither read nor
 * make one. That a client could read its own is no harm: it is its own conversation.
 */
export function createOpaque(clientId: string): Opaque {
  let key: Buffer | undefined;
  let foreign = 0;
  const keyOf = (): Buffer => {
    key ??= Buffer.from(hkdfSync('sha256', clientId, '', 'warp2api text that clients carry', 32));
    return key;
  };
  return {
    seal: (text) => sealBytes(keyOf(), Buffer.from(text)).toString('base64url'),
    open(text) {
      if (foreign >= mostForeign) return undefined;
      try {
        return unsealBytes(keyOf(), Buffer.from(text, 'base64url')).toString('utf8');
      } catch {
        // Another key's, or changed on the way.
        foreign += 1;
        return undefined;
      }
    },
  };
}
