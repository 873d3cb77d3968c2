import type { z } from 'zod';

/**
 * For values from outside: zod goes on past the first problem unless it is told, and its types do not tell of that. A list
 * of some hundred thousand faulty items would keep the process at it for half a minute, and take gigabytes, for the one
 * problem that is shown.
 */
export const upToFirstProblem: z.core.ParseContextInternal<z.core.$ZodIssue> = { abortEarly: true };
