import type { ComponentChildren } from 'preact';
import { shownPercent } from '../format.ts';
import type { Tone } from './page.tsx';

/** How much of something is used: 0 to 1, and undefined where that is unknown. Its colour warns as it fills, unless `tone` says. */
export function Bar(given: {
  readonly label: string;
  readonly share: number | undefined;
  readonly tone?: Tone;
  /** Beside the name: what is left, or when it is filled again. */
  readonly note?: ComponentChildren;
  /** In a table the name is read out only. */
  readonly isBare?: boolean;
}) {
  const share = given.share === undefined ? undefined : Math.min(1, Math.max(0, given.share));
  const tone =
    given.tone ?? (share === undefined ? 'quiet' : share >= 1 ? 'bad' : share >= 0.8 ? 'rest' : 'accent');
  return (
    <div class={`bar tone-${tone}`}>
      {!given.isBare && (
        <div class="bar-head">
          <span>{given.label}</span>
          {given.note && <span class="note">{given.note}</span>}
        </div>
      )}
      {share === undefined ? (
        <div class="track unknown" />
      ) : (
        // biome-ignore lint/a11y/useSemanticElements: browsers draw a meter in their own colours.
        <div
          class="track"
          role="meter"
          aria-label={given.label}
          aria-valuemin={0}
          aria-valuemax={100}
          aria-valuenow={Math.round(share * 100)}
          aria-valuetext={shownPercent(share)}
          title={shownPercent(share, 1)}
        >
          <div class="fill" style={{ width: `${share * 100}%` }} />
        </div>
      )}
      {given.isBare && given.note && <div class="note">{given.note}</div>}
    </div>
  );
}
