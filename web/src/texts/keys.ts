import { texts } from '../text.ts';

export const keysText = texts({
  en: {},
  zh: {},
});
