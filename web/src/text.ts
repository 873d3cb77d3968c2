import { language } from './preferences.ts';
import { common } from './texts/common.ts';

type Text = string | ((...values: never[]) => string);
/** The same keys, and the same values for each. */
type Same<Table> = {
  readonly [Key in keyof Table]: Table[Key] extends (...values: infer Values) => string
    ? (...values: Values) => string
    : string;
};

type With<Shared, Table> = Omit<Shared, keyof Table> & Same<Table>;

/**
 * The texts of a page in both languages, beside those that it shares with others. The answer gives those of the language that is
 * chosen: called inside a component, it draws the component again when the language changes.
 */
export function texts<Table extends Readonly<Record<string, Text>>, Shared = typeof common.en>(
  both: { readonly en: Table; readonly zh: Same<Table> },
  shared: { readonly en: Shared; readonly zh: Shared } = common as never,
): () => With<Shared, Table> {
  const tables = {
    en: { ...shared.en, ...both.en } as unknown as With<Shared, Table>,
    zh: { ...shared.zh, ...both.zh } as unknown as With<Shared, Table>,
  };
  return () => tables[language.value];
}

/** For `Intl`. */
export function locale(): string {
  return language.value === 'zh' ? 'zh-CN' : 'en-GB';
}
