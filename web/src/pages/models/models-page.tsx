import './models.css';
import type { ShownModels, ShownRoutes } from '../../../../src/core/shown-models.ts';
import { api, useLoaded } from '../../api.ts';
import { Fault, Loading, Notice, PageHead } from '../../components/page.tsx';
import { shownNumber } from '../../format.ts';
import { linkTo, place } from '../../navigation.ts';
import { modelsText } from '../../texts/models.ts';
import { AskBox } from './ask-box.tsx';
import { ModelMatrix } from './model-matrix.tsx';
import { RoutesView } from './routes-view.tsx';
import { TryBox } from './try-box.tsx';

const everyMs = 15_000;
const sections = ['models', 'routes', 'ask', 'attempt'] as const;

export function ModelsPage() {
  const text = modelsText();
  const table = useLoaded((abort) => api.get<ShownModels>('/api/models', {}, abort), [], everyMs);
  const routes = useLoaded((abort) => api.get<ShownRoutes>('/api/routes', {}, abort), [], everyMs);
  const { rest, filters } = place.value;
  const section = sections.find((one) => one === rest[0]) ?? 'models';
  const shown = table.value.value;
  const configured = routes.value.value;
  const named = filters.get('model') ?? '';
  const error = table.error.value ?? routes.error.value;
  const names = namesIn(shown, configured);

  return (
    <div class="models stack">
      <PageHead
        title={text.title}
        lead={
          shown &&
          text.lead(
            shownNumber(new Set(shown.models.map(({ model }) => model)).size),
            shownNumber(shown.providers.length),
          )
        }
      />
      <nav class="sections" aria-label={text.sections}>
        {sections.map((one) => (
          <a
            key={one}
            href={linkTo('models', one === 'models' ? [] : [one], { model: named })}
            aria-current={one === section ? 'page' : undefined}
          >
            {text[one]}
          </a>
        ))}
      </nav>
      {error && <Fault error={error} retry={() => Promise.all([table.reload(), routes.reload()])} />}
      {shown?.sandbox && <Notice tone="accent">{text.sandbox}</Notice>}
      {!shown && table.isLoading.value && <Loading />}
      {section === 'models' && shown && <ModelMatrix shown={shown} />}
      {section === 'routes' && configured && <RoutesView configured={configured} />}
      {section === 'ask' && <AskBox key={named} named={named} names={names} />}
      {section === 'attempt' && <TryBox key={named} named={named} names={names} />}
    </div>
  );
}

/** What a client may well ask for. */
function namesIn(shown: ShownModels | undefined, configured: ShownRoutes | undefined): readonly string[] {
  const routed = configured?.routes.map(({ model }) => model).filter((name) => !name.includes('*')) ?? [];
  const aliases = configured?.aliases.map(({ name }) => name).filter((name) => !name.endsWith('*')) ?? [];
  return [...new Set([...routed, ...aliases, ...(shown?.models.map(({ name }) => name) ?? [])])];
}
