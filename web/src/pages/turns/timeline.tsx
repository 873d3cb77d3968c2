import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import { now, shownDuration, shownNumber } from '../../format.ts';
import { turnsText } from '../../texts/turns.ts';
import { shownOutcome } from './shown-names.ts';

/** A turn as a picture in time: what was looked at, passed over and tried, one row each, from its beginning to its end. */

type Attempt = ShownTurn['attempts'][number];
type Candidate = ShownTurn['candidates'][number];
type Row =
  | { readonly at: number; readonly candidate: Candidate }
  | { readonly at: number; readonly attempt: Attempt; readonly number: number };

type Kind = 'waited' | 'connecting' | 'thinking' | 'answering' | 'failed';

interface Segment {
  readonly kind: Kind;
  readonly from: number;
  readonly to: number;
}

export function Timeline(given: { readonly turn: ShownTurn; readonly nameOf: (account: string) => string }) {
  const { turn, nameOf } = given;
  const text = turnsText();
  const total = Math.max(1, turn.duration_ms ?? now.value - Date.parse(turn.at));
  const rows: Row[] = [
    ...turn.candidates.map((candidate) => ({ at: candidate.at_ms, candidate })),
    ...turn.attempts.map((attempt, index) => ({
      at: attempt.started_ms - attempt.waited_ms,
      attempt,
      number: index + 1,
    })),
  ].sort((one, other) => one.at - other.at);
  const kinds: readonly Kind[] = ['waited', 'connecting', 'thinking', 'answering', 'failed'];
  const used = new Set(
    turn.attempts.flatMap((attempt) => segmentsOf(attempt, total)).map(({ kind }) => kind),
  );
  return (
    <div class="timeline">
      <div class="time-row time-axis" aria-hidden="true">
        <span />
        <div>
          {ticksOf(total).map((at) => (
            <span key={at} style={{ left: `${(at / total) * 100}%` }}>
              {at === 0 ? '0' : shownDuration(at)}
            </span>
          ))}
        </div>
      </div>
      {rows.map((row, index) =>
        'attempt' in row ? (
          <AttemptRow
            key={index}
            attempt={row.attempt}
            account={nameOf(row.attempt.account_id)}
            number={row.number}
            total={total}
          />
        ) : (
          <CandidateRow key={index} candidate={row.candidate} total={total} />
        ),
      )}
      {turn.attempts.length === 0 && <p class="quiet">{text.noAttempt}</p>}
      {used.size > 0 && (
        <ul class="time-legend">
          {kinds
            .filter((kind) => used.has(kind))
            .map((kind) => (
              <li key={kind}>
                <svg class={`time-key seg-${kind}`} aria-hidden="true">
                  <rect width="100%" height="100%" rx="2" />
                </svg>
                {text[kind]}
              </li>
            ))}
        </ul>
      )}
    </div>
  );
}

function CandidateRow({ candidate, total }: { readonly candidate: Candidate; readonly total: number }) {
  const text = turnsText();
  return (
    <div class="time-row time-candidate">
      <div class="time-name">
        <strong class="cut">{candidate.model}</strong>
        <small class="quiet cut">{candidate.provider}</small>
      </div>
      <div>
        <svg class="time-bar" role="img" aria-label={text.describe(text.lookedAt, modelOf(candidate))}>
          <Grid total={total} />
          <circle class="mark" cx={percent(candidate.at_ms, total)} cy="50%" r="4" />
          {candidate.skipped.map((skip, index) => (
            <g key={index} class="passed-over">
              <title>{`${text[`why_${skip.reason}`]}: ${skip.says}`}</title>
              <circle cx={percent(skip.at_ms, total)} cy="50%" r="5" />
            </g>
          ))}
        </svg>
        {candidate.skipped.map((skip, index) => (
          <p key={index} class="time-note">
            <b>{text[`why_${skip.reason}`]}</b> {skip.says}
          </p>
        ))}
      </div>
    </div>
  );
}

function AttemptRow(given: {
  readonly attempt: Attempt;
  readonly account: string;
  readonly number: number;
  readonly total: number;
}) {
  const text = turnsText();
  const { attempt, account, total } = given;
  const segments = segmentsOf(attempt, total);
  const isFailed = attempt.outcome !== null && attempt.outcome !== 'success';
  const parts = segments
    .map(({ kind, from, to }) => `${text[kind]} ${shownDuration(to - from)}`)
    .concat(isFailed ? [shownOutcome(attempt.outcome)] : [])
    .join(', ');
  const name = text.attempt(shownNumber(given.number));
  return (
    <div class={`time-row time-attempt ${isFailed ? 'failed' : ''}`}>
      <div class="time-name">
        <span class="cut">{name}</span>
        <small class="quiet cut" title={account}>
          <bdi>{account}</bdi>
        </small>
      </div>
      <div>
        <svg class="time-bar" role="img" aria-label={text.describe(name, parts)}>
          <title>{parts}</title>
          <Grid total={total} />
          {segments.map(({ kind, from, to }) => (
            <rect
              key={kind}
              class={`seg-${kind}`}
              x={percent(from, total)}
              width={percent(Math.max(to - from, total / 400), total)}
              y="5"
              height="14"
              rx="2"
            />
          ))}
          {attempt.first_content_ms !== null && (
            <line
              class="first"
              x1={percent(attempt.first_content_ms, total)}
              x2={percent(attempt.first_content_ms, total)}
              y1="1"
              y2="23"
            />
          )}
        </svg>
        {isFailed && (
          <p class="time-note">
            <b>{shownOutcome(attempt.outcome)}</b> {attempt.message}
          </p>
        )}
      </div>
    </div>
  );
}

function Grid({ total }: { readonly total: number }) {
  return (
    <>
      {ticksOf(total).map((at) => (
        <line key={at} class="grid-line" x1={percent(at, total)} x2={percent(at, total)} y1="0" y2="100%" />
      ))}
    </>
  );
}

/** Where an attempt's time went; one that runs goes on to the present. */
function segmentsOf(attempt: Attempt, total: number): readonly Segment[] {
  const { started_ms, waited_ms, connected_ms, first_content_ms, ended_ms, outcome } = attempt;
  const end = ended_ms ?? total;
  const isFailed = outcome !== null && outcome !== 'success';
  const connected = connected_ms ?? (first_content_ms === null ? end : first_content_ms);
  const first = first_content_ms ?? end;
  const last: Kind = isFailed ? 'failed' : 'answering';
  const all: Segment[] = [
    { kind: 'waited', from: started_ms - waited_ms, to: started_ms },
    { kind: 'connecting', from: started_ms, to: Math.min(connected, end) },
    { kind: isFailed && first_content_ms === null ? 'failed' : 'thinking', from: connected, to: first },
    { kind: last, from: first, to: end },
  ];
  return all.filter(({ from, to }) => to > from);
}

function percent(ms: number, total: number): string {
  return `${Math.min(100, Math.max(0, (ms / total) * 100)).toFixed(3)}%`;
}

/** About five, at round numbers. */
function ticksOf(total: number): readonly number[] {
  const rough = total / 4;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((of) => of * size).find((of) => of >= rough) ?? rough;
  const ticks = [0];
  for (let at = step; at <= total * 0.97; at += step) ticks.push(at);
  return ticks;
}

function modelOf({ provider, model }: Candidate): string {
  return `${provider}/${model}`;
}
