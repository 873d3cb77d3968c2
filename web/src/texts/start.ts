import { texts } from '../text.ts';

export const startText = texts({
  en: {},
  zh: {},
});
