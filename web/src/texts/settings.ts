import { texts } from '../text.ts';

export const settingsText = texts({
  en: {},
  zh: {},
});
