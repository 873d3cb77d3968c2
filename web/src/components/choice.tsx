import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

/** What a field shows and writes: a signal, or a filter of the address. */
export interface Bound<Value> {
  value: Value;
}

export interface Option<Value> {
  readonly value: Value;
  readonly label: string;
}

export function CheckField(given: {
  readonly label: ComponentChildren;
  readonly hint?: ComponentChildren;
  readonly value: Bound<boolean>;
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
  readonly look?: 'bare';
  readonly value: Bound<Value>;
  readonly options: readonly Option<Value>[];
}) {
  const name = useId();
  return (
    <fieldset class="choices">
      <legend class={given.look === 'bare' ? 'read-out' : ''}>{given.label}</legend>
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
