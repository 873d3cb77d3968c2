/** A figure from outside, brought into its bounds; 0 where it is no amount. */
export function amount(value: number, most = Number.MAX_VALUE): number {
  return Number.isFinite(value) && value > 0 ? Math.min(value, most) : 0;
}
