import type { ComponentChildren, InputHTMLAttributes } from 'preact';
import { useId } from 'preact/hooks';
import type { Bound, Option } from './choice.tsx';
import './field.css';

interface FieldProps {
  readonly label: string;
  /** `inline`: the label stands beside the field; `bare`: it is read out only. */
  readonly look?: 'inline' | 'bare';
  readonly hint?: ComponentChildren;
  /** What is wrong with the value; it is read out when it appears. */
  readonly error?: string | undefined;
  readonly isRequired?: boolean;
}

interface Ids {
  readonly id: string;
  readonly 'aria-describedby': string | undefined;
  readonly 'aria-invalid': boolean;
  readonly 'aria-required': boolean | undefined;
}

function Field({
  label,
  look,
  hint,
  error,
  isRequired,
  children,
}: FieldProps & { readonly children: (ids: Ids) => ComponentChildren }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ');
  return (
    <div class={`field ${look ?? ''} ${error ? 'wrong' : ''}`}>
      <label for={id} class={look === 'bare' ? 'read-out' : ''}>
        {label}
      </label>
      {children({
        id,
        'aria-describedby': described || undefined,
        'aria-invalid': error !== undefined,
        'aria-required': isRequired,
      })}
      {hint && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      <p class="error" id={`${id}-error`} aria-live="polite">
        {error}
      </p>
    </div>
  );
}

/** The names that a person has typed into a field, with commas of either script or lines between them. */
export function namesIn(text: string): string[] {
  return text.split(/[,，\n]/).flatMap((name) => name.trim() || []);
}

export interface TextFieldProps extends FieldProps {
  readonly value: Bound<string>;
  readonly type?: 'text' | 'password' | 'number' | 'email' | 'search' | 'datetime-local';
  readonly placeholder?: string;
  /** To choose from while typing. */
  readonly names?: readonly (string | Option<string>)[];
  readonly autoComplete?: string;
  /** For keys, names of models and the like. */
  readonly isCode?: boolean;
  readonly inputMode?: InputHTMLAttributes<HTMLInputElement>['inputMode'];
}

export function TextField(given: TextFieldProps) {
  return (
    <Field {...given}>
      {(ids) => (
        <>
          <input
            {...ids}
            // Which role fits which type is not ours to say here: it has none.
            type={(given.type ?? 'text') as 'text'}
            class={given.isCode ? 'code' : ''}
            list={given.names && `${ids.id}-names`}
            value={given.value.value}
            placeholder={given.placeholder}
            autocomplete={given.autoComplete ?? 'off'}
            inputMode={given.inputMode}
            spellcheck={false}
            onInput={({ currentTarget }) => {
              given.value.value = currentTarget.value;
            }}
          />
          {given.names && (
            <datalist id={`${ids.id}-names`}>
              {given.names.slice(0, 500).map((name) => {
                const option = typeof name === 'string' ? { value: name } : name;
                return <option key={option.value} {...option} />;
              })}
            </datalist>
          )}
        </>
      )}
    </Field>
  );
}

/** Narrows what is shown while it is typed. */
export function SearchField(given: {
  readonly label: string;
  readonly hint?: string;
  readonly value: Bound<string>;
}) {
  return (
    <TextField
      {...given}
      hint={undefined}
      placeholder={given.hint ?? given.label}
      type="search"
      look="bare"
    />
  );
}

export function TextArea(
  given: FieldProps & {
    readonly value: Bound<string>;
    readonly rows?: number;
    readonly placeholder?: string;
    readonly isCode?: boolean;
  },
) {
  return (
    <Field {...given}>
      {(ids) => (
        <textarea
          {...ids}
          rows={given.rows ?? 6}
          class={given.isCode ? 'code' : ''}
          placeholder={given.placeholder}
          spellcheck={false}
          value={given.value.value}
          onInput={({ currentTarget }) => {
            given.value.value = currentTarget.value;
          }}
        />
      )}
    </Field>
  );
}

export function SelectField<Value extends string>(
  given: FieldProps & {
    readonly value: Bound<Value>;
    readonly options: readonly Option<Value>[];
  },
) {
  return (
    <Field {...given}>
      {(ids) => (
        <select
          {...ids}
          value={given.value.value}
          onChange={({ currentTarget }) => {
            given.value.value = currentTarget.value as Value;
          }}
        >
          {given.options.map(({ value, label }) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      )}
    </Field>
  );
}
