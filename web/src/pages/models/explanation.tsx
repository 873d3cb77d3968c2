import type { ExplainedTurn } from '../../../../src/core/shown-models.ts';
import { Bar } from '../../components/bar.tsx';
import { Badge, Card, Notice } from '../../components/page.tsx';
import { shownNumber, shownPercent } from '../../format.ts';
import { linkTo } from '../../navigation.ts';
import { plainName } from '../../plain-name.ts';
import { questionText } from '../../texts/model-question.ts';
import { modelsText } from '../../texts/models.ts';
import { standingWord } from '../../texts/standing-words.ts';
import { useAccountNames } from '../accounts/account-names.ts';
import { conditionWords } from './routes-view.tsx';

type Text = ReturnType<typeof questionText>;
type Candidate = ExplainedTurn['candidates'][number];

/** What would become of a request. */
export function Explanation({ found, tokens }: { readonly found: ExplainedTurn; readonly tokens: number }) {
  const text = questionText();
  const { answers, error, candidates, passed_over: passed, notes } = found;
  const nameOf = useAccountNames([
    ...answers.map((answer) => answer.account_id),
    ...candidates.flatMap((one) => one.named_accounts.map((account) => account.account_id)),
  ]);
  return (
    <>
      {answers.length > 0 ? (
        <Card title={text.wouldAnswer}>
          <Answers answers={answers} nameOf={nameOf} />
          <p class="way quiet">{wayWords(found.way, text)}</p>
        </Card>
      ) : (
        <Notice tone="rest">
          <strong>{text.noneNow}</strong>
          <p>{wayWords(found.way, text)}</p>
          {error && (
            <p>
              {text.client(String(error.status), error.code)} {error.message}
            </p>
          )}
        </Notice>
      )}
      {notes.map((note) => (
        <Notice key={note} tone="rest">
          {note}
        </Notice>
      ))}
      {candidates.length > 0 && (
        <Card title={text.candidates}>
          <ol class="candidates divided">
            {candidates.map((one) => (
              <CandidateRow
                key={`${one.provider} ${one.model} ${one.labels.join()}`}
                one={one}
                isAnswering={answers.some(
                  (answer) => answer.provider === one.provider && answer.model === one.model,
                )}
                tokens={tokens}
                nameOf={nameOf}
              />
            ))}
          </ol>
        </Card>
      )}
      {passed.length > 0 && (
        <Card title={text.passedOver}>
          <ul class="candidates divided">
            {passed.map(({ provider, model, reason }, index) => (
              <li key={index}>
                <span>
                  <strong>{provider}</strong> <code>{plainName(model)}</code>
                </span>
                <small class="quiet">{passedWord(reason, text)}</small>
              </li>
            ))}
          </ul>
        </Card>
      )}
    </>
  );
}

type NameOf = (account: string) => string;

function Answers(given: { readonly answers: ExplainedTurn['answers']; readonly nameOf: NameOf }) {
  const text = questionText();
  const { answers, nameOf } = given;
  return (
    <ul class="answers plain">
      {answers.map(({ provider, model, account_id: account, share }) => (
        <li key={`${provider} ${model}`}>
          <div>
            <strong>{provider}</strong> <code>{plainName(model)}</code>
            <small class="quiet">
              {account === null ? (
                text.someAccount
              ) : (
                <>
                  {text.account}{' '}
                  <a href={linkTo('accounts', [account])} title={account}>
                    <bdi>{nameOf(account)}</bdi>
                  </a>
                </>
              )}
            </small>
          </div>
          {answers.length > 1 && (
            <Bar
              label={text.ofTurns(shownPercent(share))}
              share={share}
              tone="accent"
              note={text.ofTurns(shownPercent(share, 1))}
              isBare
            />
          )}
        </li>
      ))}
    </ul>
  );
}

function CandidateRow({
  one,
  isAnswering,
  tokens,
  nameOf,
}: {
  readonly one: Candidate;
  readonly isAnswering: boolean;
  readonly tokens: number;
  readonly nameOf: NameOf;
}) {
  const text = questionText();
  const { provider, model, share, context_window: window, when, labels, skipped } = one;
  const words = modelsText();
  const [tone, word] = isAnswering
    ? (['ok', text.answers] as const)
    : one.can_serve
      ? (['accent', text.next] as const)
      : (['rest', text.cannot] as const);
  const says = [
    share < 1 && text.first(shownPercent(share, 1)),
    ...conditionWords(when, words),
    labels.length > 0 && words.labelled(labels.join(', ')),
  ].filter((part) => part !== false);
  return (
    <li>
      <div class="row between">
        <span>
          <strong>{provider}</strong> <code>{plainName(model)}</code>
        </span>
        <Badge tone={tone}>{word}</Badge>
      </div>
      {says.length > 0 && <small class="quiet">{says.join(words.comma)}</small>}
      {window !== null && tokens > window && (
        <small class="warning">{text.contextSmall(shownNumber(window))}</small>
      )}
      {skipped.map(({ reason, says: said }) => (
        <small key={`${reason} ${said}`} class="warning">
          {said}
        </small>
      ))}
      <AccountCounts one={one} nameOf={nameOf} />
    </li>
  );
}

function AccountCounts({ one, nameOf }: { readonly one: Candidate; readonly nameOf: NameOf }) {
  const text = questionText();
  const { accounts, named_accounts: named } = one;
  if (accounts === null) {
    return one.skipped.length > 0 && !one.can_serve ? null : (
      <small class="quiet">{text.accountsUnknown}</small>
    );
  }
  const counts = Object.entries(accounts);
  if (counts.length === 0) return <small class="warning">{text.noAccounts}</small>;
  return (
    <>
      <span class="row">
        {counts.map(([standing, count]) => (
          <Badge key={standing} tone={standing === 'open' || standing === 'held' ? 'ok' : 'quiet'}>
            {shownNumber(count)} {standingWord(standing)}
          </Badge>
        ))}
      </span>
      {named.length > 0 && (
        <details>
          <summary>{text.showAccounts(shownNumber(named.length))}</summary>
          <ul class="named-accounts plain">
            {named.map(({ account_id: id, label, standing, says }) => (
              <li key={id}>
                <a href={linkTo('accounts', [id])} title={id}>
                  <bdi>{nameOf(id)}</bdi>
                </a>
                {label !== null && label !== nameOf(id) && <span>{label}</span>}
                <small class="quiet">{says ?? standingWord(standing)}</small>
              </li>
            ))}
          </ul>
        </details>
      )}
    </>
  );
}

function passedWord(reason: ExplainedTurn['passed_over'][number]['reason'], text: Text): string {
  return {
    tools: text.passedTools,
    images: text.passedImages,
    context: text.passedContext,
    unknown: text.passedUnknown,
    blind: text.passedBlind,
    key: text.passedKey,
  }[reason];
}

function wayWords({ kind, route, alias }: ExplainedTurn['way'], text: Text): string {
  switch (kind) {
    case 'route':
      return alias === null ? text.wayRoute(route ?? '') : text.wayAliasRoute(alias, route ?? '');
    case 'alias':
      return text.wayAlias(alias ?? '');
    case 'named':
      return text.wayNamed;
    case 'listed':
      return text.wayListed;
    case 'effort':
      return text.wayEffort;
    case 'stand_in':
      return text.wayStandIn;
    case 'sandbox':
      return text.waySandbox;
    case 'none':
      return text.wayNone;
  }
}
