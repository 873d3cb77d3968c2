/** What only this gateway can read again, bound to the client key it was made for. */
export interface Opaque {
  seal(text: string): string;
  /** Undefined when it was sealed elsewhere, for another key, or was changed. */
  open(sealed: string): string | undefined;
}
