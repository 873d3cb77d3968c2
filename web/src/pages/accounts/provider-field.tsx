import type { Signal } from '@preact/signals';
import { Choices } from '../../components/choice.tsx';
import { SelectField } from '../../components/field.tsx';
import { addingText } from '../../texts/account-adding.ts';
import type { Provider } from './account-actions.tsx';

export function ProviderField(given: {
  readonly providers: readonly Provider[];
  readonly value: Signal<string>;
}) {
  const options = given.providers.map(({ name }) => ({ value: name, label: name }));
  return <SelectField label={addingText().provider} value={given.value} options={options} />;
}

/** Nothing where there is no choice. */
export function CredentialKind(given: {
  readonly provider: Provider | undefined;
  readonly value: Signal<'api_key' | 'refresh_token'>;
}) {
  const text = addingText();
  const hasChoice = given.provider?.refresh_token === true;
  if (!hasChoice) {
    if (given.value.peek() !== 'api_key') given.value.value = 'api_key';
    return null;
  }
  return (
    <Choices
      label={text.kind}
      value={given.value}
      options={[
        { value: 'api_key', label: text.apiKey },
        { value: 'refresh_token', label: text.refreshToken },
      ]}
    />
  );
}
