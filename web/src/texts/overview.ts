import { texts } from '../text.ts';

export const overviewText = texts({
  en: {},
  zh: {},
});
