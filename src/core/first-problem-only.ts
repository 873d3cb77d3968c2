import type { z } from 'zod';

/**
 * For values from outside: makes zod stop at the first problem, an option that its types do not show. Otherwise a list of some
 * hundred thousand faulty items would take half a minute and gigabytes, for the one problem that is shown.
 */
export const upToFirstProblem: z.core.ParseContextInternal<z.core.$ZodIssue> = { abortEarly: true };
