import { useSignal } from '@preact/signals';
import type { ShownModel, ShownModels } from '../../../../src/core/shown-models.ts';
import { SearchField } from '../../components/field.tsx';
import { Badge, Empty } from '../../components/page.tsx';
import { type Column, Table } from '../../components/table.tsx';
import { shownCents, shownCompact, shownNumber } from '../../format.ts';
import { linkTo } from '../../navigation.ts';
import { plainName } from '../../plain-name.ts';
import { modelsText } from '../../texts/models.ts';

type Text = ReturnType<typeof modelsText>;

/** One model, wherever it is. */
interface Row {
  readonly model: string;
  readonly at: readonly ShownModel[];
  readonly first: ShownModel;
}

/** So many providers have a column of their own; more of them stand in one. */
const mostColumns = 4;

export function ModelMatrix({ shown }: { readonly shown: ShownModels }) {
  const text = modelsText();
  const search = useSignal('');
  const words = search.value.trim().toLowerCase().split(/\s+/);
  const rows = rowsOf(shown.models).filter(({ model, at }) => {
    const said = at.flatMap((one) => [one.provider, one.display_name ?? '', ...one.aliases, ...one.routes]);
    const all = [model, ...said].join(' ').toLowerCase();
    return words.every((word) => all.includes(word));
  });
  if (shown.models.length === 0) return <Empty title={text.noModels}>{text.noModelsHint}</Empty>;
  return (
    <>
      <div class="filters">
        <SearchField label={text.search} value={search} />
      </div>
      <Table
        label={text.models}
        columns={columnsFor(shown.providers, text)}
        rows={rows}
        keyOf={({ model }) => model}
        empty={<Empty title={text.nothing} />}
      />
    </>
  );
}

function rowsOf(models: readonly ShownModel[]): Row[] {
  const found = new Map<string, ShownModel[]>();
  for (const one of models) found.set(one.model, [...(found.get(one.model) ?? []), one]);
  return [...found].flatMap(([model, at]) => {
    const [first] = at;
    return first ? [{ model, at, first }] : [];
  });
}

function columnsFor(providers: ShownModels['providers'], text: Text): Column<Row>[] {
  const at: Column<Row>[] =
    providers.length <= mostColumns
      ? providers.map(({ name }) => ({
          id: `at ${name}`,
          label: name,
          cell: (row) => <Places places={row.at.filter(({ provider }) => provider === name)} />,
          sort: (row) => row.at.find(({ provider }) => provider === name)?.accounts.open,
          isDescendingFirst: true,
        }))
      : [
          {
            id: 'at',
            label: text.at,
            cell: (row) => <Places places={row.at} isNamed />,
            sort: (row) => row.at.reduce((sum, { accounts }) => sum + accounts.open, 0),
            isDescendingFirst: true,
          },
        ];
  return [
    {
      id: 'model',
      label: text.model,
      cell: (row) => <Name row={row} />,
      sort: ({ model }) => model,
    },
    ...at,
    {
      id: 'context',
      label: text.context,
      align: 'end',
      cell: ({ first }) => <Context one={first} />,
      sort: ({ first }) => first.context_window,
      isDescendingFirst: true,
    },
    {
      id: 'price',
      label: text.price,
      cell: ({ at: places }) => <Price places={places} />,
      sort: ({ at: places }) => places.find(({ price }) => price)?.price?.input,
    },
    { id: 'abilities', label: text.abilities, cell: ({ first }) => <Abilities one={first} /> },
  ];
}

function Name({ row }: { readonly row: Row }) {
  const text = modelsText();
  const { first, at, model } = row;
  const aliases = [...new Set(at.flatMap((one) => one.aliases))];
  const routes = [...new Set(at.flatMap((one) => one.routes))];
  return (
    <div class="name-cell">
      <a href={linkTo('models', ['ask'], { model: first.name })} title={text.askThis}>
        <code>{plainName(model)}</code>
      </a>
      {first.display_name !== null && first.display_name !== model && (
        <small class="quiet">{plainName(first.display_name)}</small>
      )}
      {aliases.length + routes.length > 0 && (
        <small class="quiet">
          {[
            ...aliases.map((name) => `${text.alias} ${name}`),
            ...routes.map((name) => `${text.route} ${name}`),
          ]
            .map(plainName)
            .join(', ')}
        </small>
      )}
    </div>
  );
}

function Places(given: { readonly places: readonly ShownModel[]; readonly isNamed?: boolean }) {
  const text = modelsText();
  const { places } = given;
  if (places.length === 0) return <Nothing means={text.notThere} class="not-there" />;
  return (
    <span class="row">
      {places.map(({ provider, accounts: { open, without, spent } }) => (
        <span
          key={provider}
          title={text.openTitle(shownNumber(open), shownNumber(without), shownNumber(spent))}
        >
          {provider === 'sandbox' && open === 0 ? (
            <Badge tone="accent">{text.builtIn}</Badge>
          ) : (
            <Badge tone={open > 0 ? 'ok' : 'rest'}>
              {given.isNamed ? `${provider} ${shownNumber(open)}` : text.open(shownNumber(open))}
            </Badge>
          )}
        </span>
      ))}
    </span>
  );
}

/** A dash for the eye, and the word for readers. */
function Nothing(given: { readonly means: string; readonly class?: string }) {
  const { means } = given;
  return (
    <span class={`quiet ${given.class ?? ''}`} title={means}>
      <span aria-hidden="true">–</span>
      <span class="read-out">{means}</span>
    </span>
  );
}

function sourceWords(from: ShownModel['price_from'], text: Text): string | undefined {
  if (from === null) return undefined;
  return { own: text.fromOwn, provider: text.fromProvider, catalogue: text.fromCatalogue }[from];
}

function Context({ one }: { readonly one: ShownModel }) {
  const text = modelsText();
  const { context_window: window, context_window_from: from } = one;
  if (window === null) return <Nothing means={text.unknown} />;
  return (
    <span title={`${shownNumber(window)}. ${sourceWords(from, text) ?? ''}`}>{shownCompact(window)}</span>
  );
}

function Price({ places }: { readonly places: readonly ShownModel[] }) {
  const text = modelsText();
  const priced = places.find(({ price }) => price);
  const multiplied = places.find(({ credit_multiplier: times }) => times !== null);
  if (priced?.price) {
    const { input, output } = priced.price;
    return (
      <span class="price" title={sourceWords(priced.price_from, text)}>
        {text.inOut(shownCents(100 * input), shownCents(100 * output))}
      </span>
    );
  }
  if (multiplied) return <span>{text.times(shownNumber(multiplied.credit_multiplier ?? 1, 2))}</span>;
  return <span class="quiet">{text.unknown}</span>;
}

function Abilities({ one }: { readonly one: ShownModel }) {
  const text = modelsText();
  const { tools, vision, reasoning, structured_output: structured } = one.abilities;
  const known = [
    tools === true && text.tools,
    vision === true && text.vision,
    reasoning === true && text.reasoning,
    structured === true && text.structured,
  ].filter((word) => word !== false);
  if (known.length === 0) return <Nothing means={text.unknown} />;
  return <small>{known.join(', ')}</small>;
}
