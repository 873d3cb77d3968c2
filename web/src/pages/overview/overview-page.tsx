import { Chart } from '../../components/chart.tsx';
import { Card, Empty, Facts, Notice, PageHead, Shown, Stat, Stats } from '../../components/page.tsx';
import { Countdown } from '../../components/time.tsx';
import { shownCents, shownCompact, shownDuration, shownNumber } from '../../format.ts';
import { figures } from '../../live.ts';
import { linkTo } from '../../navigation.ts';
import { session } from '../../session.ts';
import { overviewText } from '../../texts/overview.ts';
import { Attention } from './attention.tsx';
import './overview.css';
import { type Standing, useMinutes, useStanding, useToday } from './standing.ts';

export function OverviewPage() {
  const text = overviewText();
  const loaded = useStanding();
  const standing = loaded.value.value;
  const isGateway = session.value?.service === 'gateway';
  return (
    <>
      <PageHead title={text.overview} lead={standing ? leadOf(standing) : ' '} />
      <div class="stack">
        <Shown of={loaded}>
          {({ status }) =>
            status && (
              <>
                {status.sandbox && (
                  <Notice
                    tone="accent"
                    action={
                      <a class="button primary" href={linkTo('accounts')}>
                        {text.addAccount}
                      </a>
                    }
                  >
                    {text.sandbox}
                  </Notice>
                )}
                <AccountStats stats={status.pool_stats} />
              </>
            )
          }
        </Shown>
        {isGateway && <TurnStats />}
        {standing && (
          <div class="overview-columns">
            <Attention standing={standing} />
            {standing.status && <Forecast status={standing.status} />}
          </div>
        )}
      </div>
    </>
  );
}

function leadOf({ status, poolFault, health }: Standing): string {
  return poolFault ?? status?.reason ?? health?.reason ?? overviewText().ready;
}

type Status = NonNullable<Standing['status']>;

function AccountStats({ stats }: { readonly stats: Status['pool_stats'] }) {
  const text = overviewText();
  const count = (value: number, state?: string) =>
    value === 0 ? '0' : <a href={linkTo('accounts', [], { state })}>{shownNumber(value)}</a>;
  return (
    <Stats>
      <Stat
        name={text.usable}
        tone="ok"
        value={count(stats.available, 'active')}
        note={text.usableNote(shownNumber(stats.in_use))}
      />
      <Stat name={text.cooldown} tone="rest" value={count(stats.cooldown, 'cooldown')} />
      <Stat name={text.exhausted} tone="spent" value={count(stats.exhausted, 'exhausted')} />
      <Stat name={text.broken} tone="bad" value={count(stats.reauth_required, 'reauth_required')} />
      <Stat name={text.standby} tone="accent" value={count(stats.standby, 'standby')} />
      <Stat name={text.disabled} tone="quiet" value={count(stats.disabled, 'disabled')} />
    </Stats>
  );
}

function TurnStats() {
  const text = overviewText();
  const now = figures.value;
  const minutes = useMinutes().value.value;
  const today = useToday().value.value;
  const sum = (of: 'answered' | 'failed') => minutes?.reduce((all, one) => all + one[of], 0) ?? 0;
  const failed = sum('failed');
  const turns = sum('answered') + failed;
  return (
    <div class="turn-stats">
      <Stats>
        <Stat
          name={text.running}
          value={now ? shownNumber(now.running_turns) : '–'}
          note={now && now.waiting_turns > 0 ? text.waiting(shownNumber(now.waiting_turns)) : undefined}
        />
        <Stat name={text.perMinute} value={now ? shownNumber(now.turns_per_minute) : '–'} />
        <Stat
          name={text.errors}
          value={now ? shownNumber(now.errors_per_minute) : '–'}
          {...(now && now.errors_per_minute > 0 ? { tone: 'bad' as const } : {})}
        />
        <Stat
          name={text.firstContent}
          value={now?.first_content_ms == null ? '–' : shownDuration(now.first_content_ms)}
          note={text.firstContentNote}
        />
        <Stat
          name={text.costToday}
          value={today?.cost_cents == null ? '–' : shownCents(today.cost_cents)}
          note={
            today && today.unpriced_turns > 0 ? text.unpriced(shownNumber(today.unpriced_turns)) : undefined
          }
        />
        <Stat
          name={text.tokensToday}
          value={today ? shownCompact(today.input_tokens + today.output_tokens) : '–'}
          note={today ? text.ofTurns(shownNumber(today.turns)) : undefined}
        />
      </Stats>
      <Card title={text.chart}>
        {minutes && turns > 0 ? (
          <Chart
            label={text.chartLabel(shownNumber(turns), shownNumber(failed))}
            times={minutes.map(({ start }) => Date.parse(start) / 1_000)}
            lines={[
              { label: text.answered, values: minutes.map((one) => one.answered), tone: 'accent' },
              { label: text.failed, values: minutes.map((one) => one.failed), tone: 'bad' },
            ]}
            shown={(value) => shownNumber(value, 1)}
            height={240}
            kind="bars"
          />
        ) : (
          minutes && <Empty title={text.noTurns} />
        )}
      </Card>
    </div>
  );
}

function Forecast({ status: { forecast, pool_stats: stats } }: { readonly status: Status }) {
  const text = overviewText();
  const { next_back_at: backAt, next_reset_at: resetsAt } = forecast;
  const { remaining, unmetered_accounts: unmetered, spent_last_hour: spent, lasts_hours: hours } = forecast;
  return (
    <Card title={text.forecast} class="forecast">
      <Facts
        facts={[
          [
            text.left,
            <>
              {shownCompact(remaining)}
              <small>
                {text.leftNote}
                {unmetered > 0 && `; ${text.unmetered(shownNumber(unmetered))}`}
              </small>
            </>,
          ],
          [
            text.spentHour,
            <>
              {shownCompact(spent.credits)}
              <small>{text.inTurns(shownNumber(spent.turns))}</small>
            </>,
          ],
          [
            text.lasts,
            hours === null ? (
              text.lastsNever
            ) : (
              <>
                {shownDuration(hours * 3_600_000)}
                <small>{text.lastsNote}</small>
              </>
            ),
          ],
          [text.resets, resetsAt && <Countdown key="r" to={resetsAt} />],
          [
            text.returns,
            stats.cooldown + stats.exhausted === 0 ? (
              text.returnsNone
            ) : backAt ? (
              <Countdown to={backAt} />
            ) : (
              text.returnsUnknown
            ),
          ],
        ]}
      />
    </Card>
  );
}
