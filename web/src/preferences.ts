import { effect, type Signal, signal } from '@preact/signals';

/** What a person chose for this browser: it is remembered here and sent nowhere. */

export type Language = 'en' | 'zh';
export type Theme = 'system' | 'light' | 'dark';

export const language = remembered<Language>('language', ['en', 'zh'], languageOfBrowser());
export const theme = remembered<Theme>('theme', ['system', 'light', 'dark'], 'system');
/** E-mail addresses are hard to read until one is pointed at: for pictures and shared screens. */
export const blursEmails = remembered<'yes' | 'no'>('blurs-emails', ['yes', 'no'], 'no');

effect(() => {
  document.documentElement.lang = language.value === 'zh' ? 'zh-CN' : 'en';
});
effect(() => {
  document.documentElement.dataset['theme'] = theme.value;
});
effect(() => {
  document.documentElement.dataset['blur'] = blursEmails.value;
});

function languageOfBrowser(): Language {
  return navigator.languages.some((one) => one.toLowerCase().startsWith('zh')) &&
    !navigator.languages[0]?.toLowerCase().startsWith('en')
    ? 'zh'
    : 'en';
}

function remembered<Value extends string>(
  name: string,
  values: readonly Value[],
  usual: Value,
): Signal<Value> {
  const key = `warp2api.${name}`;
  const found = values.find((value) => value === read(key));
  const chosen = signal(found ?? usual);
  let isFirst = true;
  effect(() => {
    const { value } = chosen;
    // What a browser says is not remembered as if it had been chosen.
    if (!isFirst) write(key, value);
    isFirst = false;
  });
  return chosen;
}

/** A browser that keeps nothing for this page throws. */
function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // The choice lasts until the page is left.
  }
}
