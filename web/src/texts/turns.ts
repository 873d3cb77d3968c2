import { texts } from '../text.ts';

export const turnsText = texts({
  en: {},
  zh: {},
});
