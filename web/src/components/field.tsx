import type { Signal } from '@preact/signals';
import type { ComponentChildren, InputHTMLAttributes } from 'preact';
import { useId } from 'preact/hooks';

interface FieldProps {
  readonly label: string;
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
  hint,
  error,
  isRequired,
  children,
}: FieldProps & { readonly children: (ids: Ids) => ComponentChildren }) {
  const id = useId();
  const described = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(' ');
  return (
    <div class={`field ${error ? 'wrong' : ''}`}>
      <label for={id}>{label}</label>
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

export function TextField(
  given: FieldProps & {
    readonly value: Signal<string>;
    readonly type?: 'text' | 'password' | 'number' | 'email' | 'search' | 'datetime-local';
    readonly placeholder?: string;
    readonly autoComplete?: string;
    /** For keys, names of models and the like. */
    readonly isCode?: boolean;
    readonly inputMode?: InputHTMLAttributes<HTMLInputElement>['inputMode'];
  },
) {
  return (
    <Field {...given}>
      {(ids) => (
        <input
          {...ids}
          // Which role fits which type is not ours to say here: it has none.
          type={(given.type ?? 'text') as 'text'}
          class={given.isCode ? 'code' : ''}
          value={given.value.value}
          placeholder={given.placeholder}
          autocomplete={given.autoComplete ?? 'off'}
          inputMode={given.inputMode}
          spellcheck={false}
          onInput={({ currentTarget }) => {
            given.value.value = currentTarget.value;
          }}
        />
      )}
    </Field>
  );
}

export function TextArea(
  given: FieldProps & {
    readonly value: Signal<string>;
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
    readonly value: Signal<Value>;
    readonly options: readonly { readonly value: Value; readonly label: string }[];
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

export function CheckField(given: {
  readonly label: ComponentChildren;
  readonly hint?: ComponentChildren;
  readonly value: Signal<boolean>;
}) {
  const id = useId();
  return (
    <div class="check">
      <input
        id={id}
        type="checkbox"
        checked={given.value.value}
        aria-describedby={given.hint ? `${id}-hint` : undefined}
        onChange={({ currentTarget }) => {
          given.value.value = currentTarget.checked;
        }}
      />
      <label for={id}>{given.label}</label>
      {given.hint && (
        <p class="hint" id={`${id}-hint`}>
          {given.hint}
        </p>
      )}
    </div>
  );
}

/** A few choices beside each other, of which one holds. */
export function Choices<Value extends string>(given: {
  readonly label: string;
  readonly value: Signal<Value>;
  readonly options: readonly { readonly value: Value; readonly label: string }[];
}) {
  const name = useId();
  return (
    <fieldset class="choices">
      <legend>{given.label}</legend>
      <div>
        {given.options.map(({ value, label }) => (
          <label key={value}>
            <input
              type="radio"
              name={name}
              value={value}
              checked={given.value.value === value}
              onChange={() => {
                given.value.value = value;
              }}
            />
            <span>{label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
