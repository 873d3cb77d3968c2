import type { ComponentChildren } from 'preact';
import { Icon } from '../../components/icon.tsx';
import { Card } from '../../components/page.tsx';
import { Email } from '../../components/time.tsx';
import { shownNumber } from '../../format.ts';
import { linkTo } from '../../navigation.ts';
import { reasonText } from '../../texts/account-reasons.ts';
import { overviewText } from '../../texts/overview.ts';
import type { Standing } from './standing.ts';

interface Item {
  readonly id: string;
  readonly title: ComponentChildren;
  readonly reason?: ComponentChildren;
  readonly link?: string;
}

/** What does not end without someone doing something. */
export function Attention({ standing }: { readonly standing: Standing }) {
  const text = overviewText();
  const items = [...itemsOf(standing)];
  return (
    <Card title={text.attention}>
      {items.length === 0 ? (
        <p class="row">
          <span class="tone-ok attention-none">
            <Icon name="check" />
          </span>
          <span>
            {text.nothing} <span class="quiet">{text.nothingNote}</span>
          </span>
        </p>
      ) : (
        <ul class="attention plain">
          {items.map(({ id, title, reason, link }) => (
            <li key={id}>
              <Icon name="alert" />
              <div>
                <strong>{title}</strong>
                {reason && <p class="quiet">{reason}</p>}
              </div>
              {link && <a href={link}>{text.look}</a>}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function* itemsOf({ health, status, poolFault, broken }: Standing): Generator<Item> {
  const text = overviewText();
  if (poolFault !== undefined) yield { id: 'pool', title: text.pool, reason: poolFault };
  if (health && !(health.pool.reachable && health.pool.accepts_key)) {
    yield { id: 'gateway', title: text.gateway, reason: health.reason };
  }
  for (const name of health?.unreachable_providers ?? []) {
    yield { id: `provider ${name}`, title: text.provider(name), reason: text.noConnection };
  }
  for (const name of health?.open_circuits ?? []) {
    yield { id: `circuit ${name}`, title: text.gateway, reason: text.circuit(name), link: linkTo('models') };
  }
  for (const { id, email, label, provider, status_reason } of broken) {
    const name = email === null ? (label ?? id) : <Email address={email} />;
    yield {
      id,
      title: (
        <>
          {name} <span class="quiet">{provider}</span>
        </>
      ),
      reason: reasonText(status_reason),
      link: linkTo('accounts', [id]),
    };
  }
  const others = (status?.pool_stats.reauth_required ?? 0) - broken.length;
  if (others > 0) {
    const link = linkTo('accounts', [], { state: 'reauth_required' });
    yield { id: 'others', title: text.more(shownNumber(others)), link };
  }
  for (const { name, last_error, login } of status?.sources ?? []) {
    if (login)
      yield {
        id: `login ${name}`,
        title: text.source(name),
        reason: text.login(login.provider),
        link: linkTo('accounts'),
      };
    else if (last_error !== null)
      yield { id: `source ${name}`, title: text.source(name), reason: last_error };
  }
}
