import { texts } from '../text.ts';

export const accountsText = texts({
  en: {},
  zh: {},
});
