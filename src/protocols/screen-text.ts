/** The size of a screen, as a sentence to follow a tool's description; empty where the tool has none. */
export function screenText(width: unknown, height: unknown): string {
  if (typeof width !== 'number' || typeof height !== 'number') return '';
  return ` The screen is ${width} pixels wide and ${height} high.`;
}
