import { type Language, language } from './preferences.ts';

type Text = string | ((...values: never[]) => string);
/** The same keys, and the same values for each. */
type Same<Table> = {
  readonly [Key in keyof Table]: Table[Key] extends (...values: infer Values) => string
    ? (...values: Values) => string
    : string;
};

/**
 * The texts of a page in both languages. The answer gives those of the language that is chosen: called inside a component, it
 * draws the component again when the language changes.
 */
export function texts<Table extends Readonly<Record<string, Text>>>(both: {
  readonly en: Table;
  readonly zh: Same<Table>;
}): () => Same<Table> {
  const tables: Record<Language, Same<Table>> = { en: both.en as unknown as Same<Table>, zh: both.zh };
  return () => tables[language.value];
}

/** For `Intl`. */
export function locale(): string {
  return language.value === 'zh' ? 'zh-CN' : 'en-GB';
}
