/** Warp's own front refuses turns over HTTP/1.1 with a bare 403. */
export function isWarpHost(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  return protocol === 'https:' && /(^|\.)warp\.dev\.?$/.test(hostname);
}
