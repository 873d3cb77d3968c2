import type { ShownTurn } from '../../../../src/core/shown-turn.ts';
import { Badge, Card, Facts, outcomeTone, Stat, Stats } from '../../components/page.tsx';
import { shownDuration, shownNumber } from '../../format.ts';
import { linkTo } from '../../navigation.ts';
import { plainName } from '../../plain-name.ts';
import { questionText } from '../../texts/model-question.ts';
import { useAccountNames } from '../accounts/account-names.ts';
import { shownOutcome } from '../turns/shown-names.ts';
import type { TrialHead } from './try-turn.ts';

/** What the gateway decided about a turn, in short. */
export function TrialRecord({
  head,
  turn,
}: {
  readonly head: TrialHead;
  readonly turn: ShownTurn | undefined;
}) {
  const text = questionText();
  const usage = turn?.usage;
  const nameOf = useAccountNames(turn?.attempts.map((one) => one.account_id) ?? []);
  return (
    <Card title={text.record} actions={<a href={linkTo('turns', [head.requestId])}>{text.openTurn}</a>}>
      <Facts
        facts={[
          ['x-warp2api-route', <code key="route">{turn?.route || head.route || '–'}</code>],
          [text.request, <code key="request">{head.requestId}</code>],
        ]}
      />
      {turn && (
        <>
          <Stats>
            <Stat
              name={text.outcome}
              value={<Badge tone={outcomeTone(turn.outcome)}>{shownOutcome(turn.outcome)}</Badge>}
            />
            <Stat name={text.firstContent} value={duration(turn.first_content_ms)} />
            <Stat name={text.whole} value={duration(turn.duration_ms)} />
            <Stat
              name={text.tokens}
              value={usage ? shownNumber(usage.input_tokens + usage.output_tokens) : '–'}
              note={usage && text.inOut(shownNumber(usage.input_tokens), shownNumber(usage.output_tokens))}
            />
          </Stats>
          <ol class="candidates divided">
            {turn.candidates.map(({ provider, model, skipped }, index) => {
              const attempts = turn.attempts.filter(
                (one) => one.provider === provider && one.model === model,
              );
              return (
                <li key={index}>
                  <span>
                    <strong>{provider}</strong> <code>{plainName(model)}</code>
                  </span>
                  {skipped.map(({ says }) => (
                    <small key={says} class="warning">
                      {says}
                    </small>
                  ))}
                  {attempts.map((one) => (
                    <small key={one.started_ms} class="quiet">
                      <bdi title={one.account_id}>{nameOf(one.account_id)}</bdi> {shownOutcome(one.outcome)}
                      {one.message !== null && `: ${one.message}`}
                    </small>
                  ))}
                </li>
              );
            })}
          </ol>
        </>
      )}
    </Card>
  );
}

function duration(ms: number | null): string {
  return ms === null ? '–' : shownDuration(ms);
}
