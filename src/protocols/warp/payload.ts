/**
 * The bytes of one event's data: URL-safe base64, padded or not, often in double quotes. Undefined when it is not
 * that.
 */
export function decodePayload(data: string): Buffer | undefined {
  let start = 0;
  let end = data.length;
  while (start < end && data.charCodeAt(start) === 0x22) start++;
  while (end > start && data.charCodeAt(end - 1) === 0x22) end--;
  let padding = 0;
  while (padding < 2 && end > start && data.charCodeAt(end - 1) === 0x3d) {
    end--;
    padding++;
  }
  const text = start === 0 && end === data.length ? data : data.slice(start, end);
  if (text.length % 4 === 1) return undefined;
  const bytes = Buffer.from(text, 'base64url');
  // Buffer passes over what is no base64, so a payload with junk comes out too short.
  return bytes.length === Math.floor((text.length * 3) / 4) ? bytes : undefined;
}
