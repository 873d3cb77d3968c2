/** A body of `multipart/form-data` (RFC 7578) as it came. */
export interface FormBody {
  readonly bytes: Buffer;
  readonly contentType: string;
}

interface Span {
  readonly start: number;
  readonly end: number;
}

/** The value of a field; undefined where there is none of that name, or the body is no form. */
export function formField(form: FormBody, name: string): string | undefined {
  const value = spanOf(form, name);
  return value && form.bytes.toString('utf8', value.start, value.end);
}

/** The same bytes with another value for a field that is there. */
export function withField({ bytes, contentType }: FormBody, name: string, value: string): Buffer {
  const found = spanOf({ bytes, contentType }, name);
  if (!found) return bytes;
  return Buffer.concat([bytes.subarray(0, found.start), Buffer.from(value), bytes.subarray(found.end)]);
}

/** Files are passed over without being looked into. */
function spanOf({ bytes, contentType }: FormBody, name: string): Span | undefined {
  const [, quoted, plain] = /;\s*boundary\s*=\s*(?:"([^"]+)"|([^\s;]+))/i.exec(contentType) ?? [];
  const boundary = quoted ?? plain;
  if (boundary === undefined) return undefined;
  const mark = `--${boundary}`;
  for (let at = bytes.indexOf(mark); at !== -1; ) {
    const head = bytes.indexOf('\r\n', at) + 2;
    const start = bytes.indexOf('\r\n\r\n', head - 2) + 4;
    const end = bytes.indexOf(`\r\n${mark}`, start - 2);
    if (head < 2 || start < 4 || end === -1) return undefined;
    const headers = bytes.toString('utf8', head, start);
    const disposition = /^content-disposition:.*$/im.exec(headers)?.[0] ?? '';
    if (/;\s*name="?([^";\r]*)/i.exec(disposition)?.[1] === name) return { start: Math.min(start, end), end };
    at = end + 2;
  }
  return undefined;
}
