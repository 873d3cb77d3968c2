/** The text of a file by its bytes; undefined when it is no text. */
export function textOfBytes(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    // A document of another kind may by chance be readable.
    return text.includes('\0') || text.startsWith('%PDF-') ? undefined : text;
  } catch {
    return undefined;
  }
}

/** A document as the model reads it: its name, a blank line, its text. */
export function titled(text: string, title: string | null | undefined): string {
  return title ? `${title}\n\n${text}` : text;
}
