import { useSignal } from '@preact/signals';
import type { ShownModels } from '../../../../src/core/shown-models.ts';
import { api, useLoaded } from '../../api.ts';
import { Snippet } from '../../components/copy.tsx';
import { SelectField, TextField } from '../../components/field.tsx';
import { Card, Notice } from '../../components/page.tsx';
import { isPlainHttp } from '../../session.ts';
import { startText } from '../../texts/start.ts';
import { clients } from './snippets.ts';

/** What each client needs to call this gateway, with the address that this page came from. */
export function Clients({ isKeyNeeded }: { readonly isKeyNeeded: boolean | undefined }) {
  const text = startText();
  const chosen = useSignal(clients[0]?.id ?? '');
  const key = useSignal('');
  const model = useSignal('auto');
  const models = useLoaded((abort) => api.get<ShownModels>('/api/models', {}, abort));
  const names = [...new Set(['auto', ...(models.value.value?.models ?? []).map(({ name }) => name)])];
  const client = clients.find(({ id }) => id === chosen.value) ?? clients[0];
  const access = { address: location.origin, key: key.value.trim() || 'KEY', model: model.value };
  return (
    <Card title={text.clients} class="clients">
      {isPlainHttp && <Notice tone="rest">{text.plainHttp}</Notice>}
      <div class="fields">
        <SelectField
          label={text.client}
          value={chosen}
          options={clients.map(({ id, name }) => ({ value: id, label: name }))}
        />
        <SelectField
          label={text.model}
          value={model}
          options={names.map((name) => ({ value: name, label: name }))}
        />
        <TextField
          label={text.key}
          hint={isKeyNeeded === false ? text.keyAny : text.keyHint}
          value={key}
          placeholder="w2a_…"
          isCode
        />
      </div>
      <div class="stack">
        {client?.snippets(access).map(({ place, text: code }) => (
          <figure key={code} class="client-snippet">
            <figcaption class="small quiet">
              {place === 'shell' ? text.inShell : place === 'code' ? text.inCode : text.inFile(place.file)}
            </figcaption>
            <Snippet text={code} />
          </figure>
        ))}
      </div>
      <p class="small quiet">{text.moreClients}</p>
    </Card>
  );
}
