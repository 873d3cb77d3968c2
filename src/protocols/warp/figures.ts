/** The wire has single precision, of which six decimals are more than enough: 0.1, not 0.10000000149. */
export function rounded(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}
