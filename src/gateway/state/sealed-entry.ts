import { hash } from 'node:crypto';
import { sealBytes, unsealBytes } from '../../lib/secrets/sealed-bytes.ts';

/**
 * The keys of entries are secrets that no database gets: a digest over something only the caller has, such as a client's
 * key together with what it sent, or the id of a response. Where an entry lies and the key that seals it are both derived
 * from that secret. The database alone tells nothing, there is no key to look after, and restarts and other instances
 * just work. It is as good as the secret is hard to guess: where clients show no key, somebody with the database can
 * check whether a conversation that he knows word for word is in it.
 *
 * Place and key are two halves of one digest, so the place tells nothing about the key. The secret is a digest itself and
 * needs no stretching. As the key belongs to the place, an entry moved to another place cannot be read there.
 */
export function sealingOf(secret: string) {
  const digest = hash('sha512', `warp2api keep 1\n${secret}`, 'buffer');
  const key = digest.subarray(32);
  return {
    place: digest.toString('base64url', 0, 32),
    seal: (value: Uint8Array): Buffer => sealBytes(key, value),
    /** Throws when the bytes were changed, or sealed for another place. */
    unseal: (sealed: Uint8Array): Buffer => unsealBytes(key, sealed),
  };
}
