/** `client_key` of turns that came without a key, where the gateway asks for none: the beginning of the digest of an empty text. */
export const keylessClient = '47DEQpj8HBSa';
export type KeylessClient = typeof keylessClient;
