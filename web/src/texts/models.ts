import { texts } from '../text.ts';

export const modelsText = texts({
  en: {},
  zh: {},
});
