import type { ShownConditions, ShownRoute, ShownRoutes } from '../../../../src/core/shown-models.ts';
import { Bar } from '../../components/bar.tsx';
import { Snippet } from '../../components/copy.tsx';
import { Card, Empty, Notice } from '../../components/page.tsx';
import { Table } from '../../components/table.tsx';
import { shownDuration, shownNumber, shownPercent } from '../../format.ts';
import { linkTo } from '../../navigation.ts';
import { plainName } from '../../plain-name.ts';
import { modelsText } from '../../texts/models.ts';

type Text = ReturnType<typeof modelsText>;
type Candidate = ShownRoute['candidates'][number];

const example = `routes:
  - model: coding
    candidates:
      - { provider: anthropic, model: claude-sonnet-4-5 }
      - { provider: openrouter, model: anthropic/claude-sonnet-4.5 }`;

export function RoutesView({ configured }: { readonly configured: ShownRoutes }) {
  const text = modelsText();
  const { routes, aliases, config } = configured;
  return (
    <>
      {config?.error !== undefined && (
        <Notice tone="bad">
          {text.configRefused}
          <p class="fault-text">{config.error}</p>
        </Notice>
      )}
      {routes.length === 0 && (
        <Empty title={text.noRoutes} action={<Snippet text={example} />}>
          {text.noRoutesHint}
        </Empty>
      )}
      {routes.map((route) => (
        <RouteCard key={route.model} route={route} />
      ))}
      <Card title={text.aliases}>
        <Table
          label={text.aliases}
          columns={[
            {
              id: 'name',
              label: text.aliasName,
              cell: ({ name }) => <Asked name={name} />,
              sort: ({ name }) => name,
            },
            {
              id: 'target',
              label: text.leadsTo,
              cell: ({ target }) => <code>{target}</code>,
              sort: ({ target }) => target,
            },
          ]}
          rows={aliases}
          keyOf={({ name }) => name}
          empty={<p class="quiet">{text.noAliases}</p>}
        />
      </Card>
    </>
  );
}

/** Which requests a candidate takes. */
export function conditionWords(when: ShownConditions, text: Text): string[] {
  const { tools, images, max_context: most } = when;
  return [
    tools !== null && (tools ? text.withTools : text.withoutTools),
    images !== null && (images ? text.withImages : text.withoutImages),
    most !== null && text.atMost(shownNumber(most)),
  ].filter((word) => word !== false);
}

/** A name that can be asked about; a pattern is none. */
function Asked({ name }: { readonly name: string }) {
  if (name.includes('*')) return <code>{plainName(name)}</code>;
  return (
    <a href={linkTo('models', ['ask'], { model: name })}>
      <code>{plainName(name)}</code>
    </a>
  );
}

function RouteCard({ route }: { readonly route: ShownRoute }) {
  const text = modelsText();
  const ranks = [...new Set(route.candidates.map(({ rank }) => rank))].sort((one, other) => one - other);
  const says = [
    route.delivery !== 'stream' && `${text.delivery}: ${route.delivery}`,
    route.first_content_timeout_ms !== null && text.within(shownDuration(route.first_content_timeout_ms)),
    route.prompt_cache === 'off' && text.promptCacheOff,
  ].filter((word) => word !== false);
  return (
    <Card title={<Asked name={route.model} />} actions={<small class="quiet">{says.join(text.comma)}</small>}>
      <ol class="tiers divided">
        {ranks.map((rank) => {
          const own = route.candidates.filter((one) => one.rank === rank);
          return (
            <li key={rank}>
              <span class="tier-name">{text.tier(shownNumber(rank))}</span>
              <ul>
                {own.map((one) => (
                  <Place
                    key={`${one.provider} ${one.model} ${one.labels.join()}`}
                    one={one}
                    isShared={own.length > 1}
                  />
                ))}
              </ul>
            </li>
          );
        })}
      </ol>
    </Card>
  );
}

function Place({ one, isShared }: { readonly one: Candidate; readonly isShared: boolean }) {
  const text = modelsText();
  const says = [
    ...conditionWords(one.when, text),
    one.labels.length > 0 && text.labelled(one.labels.join(', ')),
    one.first_content_timeout_ms !== null && text.within(shownDuration(one.first_content_timeout_ms)),
  ].filter((word) => word !== false);
  return (
    <li class="route-place">
      <div>
        <strong>{one.provider}</strong>{' '}
        {one.model === '*' ? <span class="quiet">{text.asAsked}</span> : <code>{plainName(one.model)}</code>}
      </div>
      {isShared && (
        <Bar
          label={text.share(shownPercent(one.share))}
          share={one.share}
          tone="accent"
          note={text.share(shownPercent(one.share, 1))}
          isBare
        />
      )}
      {says.length > 0 && <small class="quiet">{says.join(text.comma)}</small>}
    </li>
  );
}
