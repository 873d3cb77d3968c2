import { texts } from '../text.ts';

export const usageText = texts({
  en: {},
  zh: {},
});
