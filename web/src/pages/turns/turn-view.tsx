import { useSignal } from '@preact/signals';
import type { ShownTurn, TurnContent } from '../../../../src/core/shown-turn.ts';
import { api, useLoaded } from '../../api.ts';
import { Button } from '../../components/button.tsx';
import { Copied } from '../../components/copy.tsx';
import {
  Badge,
  Card,
  Empty,
  Facts,
  Fault,
  Loading,
  outcomeTone,
  PageHead,
  Stat,
  Stats,
} from '../../components/page.tsx';
import { Time } from '../../components/time.tsx';
import { toast } from '../../components/toast.tsx';
import { now, shownCents, shownDuration, shownNumber } from '../../format.ts';
import { linkTo } from '../../navigation.ts';
import { saveFile } from '../../save-file.ts';
import { turnsText } from '../../texts/turns.ts';
import { useAccountNames } from '../accounts/account-names.ts';
import { shownState } from '../accounts/account-state.tsx';
import { exportedTurn } from './export-turn.ts';
import { keyName, shownOutcome } from './shown-names.ts';
import { Timeline } from './timeline.tsx';

type Turn = ShownTurn & { readonly content?: TurnContent | null };

const runningMs = 1_000;

/** One turn: how it was decided, and where its time went. */
export function TurnView({ id }: { readonly id: string }) {
  const text = turnsText();
  // One that is gone has ended as well.
  const hasEnded = useSignal(true);
  const { value, error, reload } = useLoaded(
    async (abort) => {
      const turn = await api.get<Turn>(`/api/turns/${encodeURIComponent(id)}`, {}, abort);
      hasEnded.value = turn.outcome !== 'running';
      return turn;
    },
    [hasEnded.value],
    hasEnded.value ? undefined : runningMs,
  );
  const turn = value.value;
  const nameOf = useAccountNames(turn?.attempts.map((attempt) => attempt.account_id) ?? []);
  if (!turn) {
    if (error.value?.status === 404) {
      return (
        <Empty title={text.notFound} action={<a href={linkTo('turns')}>{text.all}</a>}>
          {text.notFoundHint}
        </Empty>
      );
    }
    return error.value ? <Fault error={error.value} retry={() => void reload()} /> : <Loading />;
  }
  return (
    <>
      <a class="back" href={linkTo('turns')}>
        ← {text.all}
      </a>
      <PageHead
        title={turn.model}
        lead={
          <span class="row">
            <Badge tone={outcomeTone(turn.outcome)}>{shownOutcome(turn.outcome)}</Badge>
            <Time at={turn.at} />
            <span>{keyName(turn.key_name, turn.client_key)}</span>
          </span>
        }
      >
        <Button icon="download" onClick={() => download(turn)}>
          {text.export}
        </Button>
      </PageHead>
      <div class="stack">
        {turn.message && <p class="turn-message tone-bad">{turn.message}</p>}
        <Figures turn={turn} />
        <Card title={text.inTime}>
          <Timeline turn={turn} nameOf={nameOf} />
          {turn.omitted > 0 && <p class="quiet">{text.andOmitted(shownNumber(turn.omitted))}</p>}
        </Card>
        {turn.attempts.length > 0 && <Attempts turn={turn} nameOf={nameOf} />}
        <div class="grid">
          <RequestFacts turn={turn} />
          {turn.usage && <Usage usage={turn.usage} />}
        </div>
        <Content content={turn.content ?? null} />
      </div>
    </>
  );
}

function download(turn: Turn): void {
  const text = `${JSON.stringify(exportedTurn(turn), null, 2)}\n`;
  saveFile(`turn-${turn.request_id}.json`, new Blob([text], { type: 'application/json' }));
  toast(turnsText().exported);
}

function Figures({ turn }: { readonly turn: Turn }) {
  const text = turnsText();
  const { usage } = turn;
  const cost = usage?.cost_cents ?? null;
  const credits = usage?.credits ?? null;
  const waitedMs = turn.attempts.reduce((sum, { waited_ms }) => sum + waited_ms, 0);
  return (
    <Stats>
      <Stat
        name={text.duration}
        value={shownDuration(turn.duration_ms ?? Math.max(0, now.value - Date.parse(turn.at)))}
      />
      <Stat
        name={text.firstContent}
        value={turn.first_content_ms === null ? '–' : shownDuration(turn.first_content_ms)}
      />
      <Stat name={text.waitedInAll} value={shownDuration(waitedMs)} />
      <Stat name={text.attempts} value={shownNumber(turn.attempts.length)} />
      <Stat
        name={text.tokens}
        value={usage ? shownNumber(usage.input_tokens + usage.output_tokens) : '–'}
        note={usage && text.inOut(shownNumber(usage.input_tokens), shownNumber(usage.output_tokens))}
      />
      <Stat
        name={text.cost}
        value={cost === null ? (credits === null ? '–' : shownNumber(credits, 2)) : shownCents(cost)}
        note={
          cost !== null && credits !== null
            ? text.credits(shownNumber(credits, 2))
            : cost === null && credits === null && usage
              ? text.unknown
              : undefined
        }
      />
    </Stats>
  );
}

function Attempts(given: { readonly turn: Turn; readonly nameOf: (account: string) => string }) {
  const text = turnsText();
  const { turn, nameOf } = given;
  return (
    <Card title={text.attempts}>
      <ol class="attempts divided">
        {turn.attempts.map((attempt, index) => (
          <li key={index}>
            <div class="row between">
              <strong>{`${attempt.provider}/${attempt.model}`}</strong>
              <Badge tone={outcomeTone(attempt.outcome)}>{shownOutcome(attempt.outcome)}</Badge>
            </div>
            {attempt.message && <p>{attempt.message}</p>}
            <Facts
              facts={[
                [
                  text.account,
                  <a key="a" href={linkTo('accounts', [attempt.account_id])} title={attempt.account_id}>
                    <bdi>{nameOf(attempt.account_id)}</bdi>
                  </a>,
                ],
                [text.chosenBecause, `${text[`choice_${attempt.choice}`]} (${text[`from_${attempt.from}`]})`],
                [text.waited, shownDuration(attempt.waited_ms)],
                [text.status, attempt.status],
                [text.statusAfter, attempt.account_status && shownState(attempt.account_status)],
                [
                  text.outputLimit,
                  attempt.output_limit &&
                    text[`limit_${attempt.output_limit.from}`](shownNumber(attempt.output_limit.tokens)),
                ],
              ]}
            />
          </li>
        ))}
      </ol>
    </Card>
  );
}

function RequestFacts({ turn }: { readonly turn: Turn }) {
  const text = turnsText();
  return (
    <Card title={text.headers}>
      <Facts
        facts={[
          [text.requestId, <Copied key="r" value={turn.request_id} />],
          [text.traceId, turn.trace_id && <Copied key="t" value={turn.trace_id} />],
          [text.began, <Time key="b" at={turn.at} />],
          [text.dialect, `${turn.dialect}, ${turn.stream ? text.streamed : text.whole}`],
          [text.status, turn.status],
          [text.finish, turn.finish],
          [text.route, <code key="x">{turn.route}</code>],
        ]}
      />
    </Card>
  );
}

function Usage({ usage }: { readonly usage: NonNullable<ShownTurn['usage']> }) {
  const text = turnsText();
  const count = (value: number | null) => value !== null && shownNumber(value);
  return (
    <Card title={text.usage}>
      <Facts
        facts={[
          [text.input, count(usage.input_tokens)],
          [text.cached, count(usage.cached_input_tokens)],
          [text.cacheWrite, count(usage.cache_write_tokens)],
          [text.output, count(usage.output_tokens)],
          [text.reasoning, count(usage.reasoning_tokens)],
          [text.cost, usage.cost_cents === null ? text.unknown : shownCents(usage.cost_cents)],
        ]}
      />
      {usage.is_estimated && <p class="quiet small">{text.estimated}</p>}
    </Card>
  );
}

function Content({ content }: { readonly content: TurnContent | null }) {
  const text = turnsText();
  if (!content) return <p class="quiet small">{text.noContent}</p>;
  return (
    <Card title={text.content}>
      {content.omitted_messages > 0 && (
        <p class="quiet small">{text.omittedMessages(shownNumber(content.omitted_messages))}</p>
      )}
      <ol class="said">
        {[...content.input, ...content.output].map(({ role, parts }, index) => (
          <li key={index} class={`said-${role}`}>
            <h3>{text[`role_${role}`]}</h3>
            {parts.map((part, at) => (
              <div key={at}>
                {part.type !== 'text' && (
                  <small class="quiet code">{`${part.type} ${part.name ?? ''}`}</small>
                )}
                {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what is wider than the page is scrolled by keyboard too. */}
                <pre tabIndex={0}>{part.content}</pre>
              </div>
            ))}
          </li>
        ))}
      </ol>
    </Card>
  );
}
