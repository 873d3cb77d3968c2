/** What upstreams and their models take. */
export const imageTypesText = 'PNG, JPEG, GIF and WebP';

/** The media type of an image that can be shown, by its first bytes: what clients and servers call a file is often wrong. */
export function imageTypeOf(bytes: Buffer): string | undefined {
  const start = bytes.toString('latin1', 0, 12);
  if (start.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png';
  if (start.startsWith('\xff\xd8\xff')) return 'image/jpeg';
  if (start.startsWith('GIF87a') || start.startsWith('GIF89a')) return 'image/gif';
  if (start.startsWith('RIFF') && start.endsWith('WEBP')) return 'image/webp';
  return undefined;
}

/** What another file is, by its first bytes; undefined where they do not show it. */
export function otherTypeOf(bytes: Buffer): string | undefined {
  const start = bytes.toString('latin1', 0, 256);
  if (start.startsWith('%PDF-')) return 'a PDF';
  if (start.startsWith('BM')) return 'a BMP image';
  if (start.startsWith('II*\0') || start.startsWith('MM\0*')) return 'a TIFF image';
  if (/^.{4}ftypavi[fs]/s.test(start)) return 'an AVIF image';
  if (/^.{4}ftyp(?:hei|hev|mif|msf)/s.test(start)) return 'a HEIC image';
  if (start.startsWith('\0\0\x01\0')) return 'an icon';
  if (/^\s*(?:<\?xml|<!--|<svg)/i.test(start)) return 'an SVG image';
  if (/^\s*<(?:!doctype|html)/i.test(start)) return 'an HTML page';
  return undefined;
}
