/** The text of a file that travels as base64, with its name in front; undefined when it is no text. */
export function textOfFile(base64: string, name: string | null | undefined): string | undefined {
  if (!/^[A-Za-z0-9+/\s]+={0,2}\s*$/.test(base64)) return undefined;
  const text = decodeText(Buffer.from(base64, 'base64'));
  return text === undefined ? undefined : titled(text, name);
}

/** A document as the model reads it: its name, a blank line, its text. */
export function titled(text: string, title: string | null | undefined): string {
  return title ? `${title}\n\n${text}` : text;
}

function decodeText(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // A document of another kind may by chance be readable.
    return text.includes('\0') || text.startsWith('%PDF-') ? undefined : text;
  } catch {
    return undefined;
  }
}
