const longestModelName = 1_000;
const longestRoute = 1_000;
const mostInRoute = 8;

/** The part of a record that its summary is made of. */
interface RoutedRecord {
  readonly attempts: readonly NotedAttempt[];
  readonly candidates: readonly {
    readonly route: NamedRoute;
    readonly skipped: readonly { readonly kind: string }[];
  }[];
}

interface NotedAttempt {
  readonly route: NamedRoute;
  readonly accountId: string;
  readonly outcome?: string | null | undefined;
}

interface NamedRoute {
  readonly provider: { readonly name: string };
  readonly model: string;
}

/** `openai/gpt-5-mini#acc_0a1b2c3d; attempts=2; tried=openai/gpt-5-mini#acc_4e5f6071:upstream_rate_limited` */
export function routeSummary({ attempts, candidates }: RoutedRecord): string {
  const last = attempts.at(-1);
  const looked = candidates.at(-1);
  const reached = last ? attemptName(last) : looked ? modelOf(looked.route) : 'none';
  const summary = `${reached}; attempts=${attempts.length}`;
  // Nearly every turn, before its end and after.
  if (attempts.length === 1 && candidates.length === 1) {
    const outcome = last?.outcome;
    if (outcome == null || (outcome === 'success' && looked?.skipped.length === 0)) return summary;
  }
  const failed = attempts.filter(({ outcome }) => outcome != null && outcome !== 'success');
  const tried = failed.map((note) => `${attemptName(note)}:${note.outcome}`);
  const passed = candidates.flatMap(({ route, skipped }) => {
    const why = skipped.find(({ kind }) => kind === 'none-lent' || kind === 'field' || kind === 'circuit');
    return why ? [`${modelOf(route)}:${why.kind}`] : [];
  });
  return (summary + listed('tried', tried) + listed('passed', passed)).slice(0, longestRoute);
}

function listed(name: string, items: readonly string[]): string {
  return items.length === 0 ? '' : `; ${name}=${items.slice(0, mostInRoute).join(',')}`;
}

function attemptName({ route, accountId }: NotedAttempt): string {
  return `${modelOf(route)}#${shortId(accountId)}`;
}

/** As commands name an account. */
export function shortId(accountId: string): string {
  return accountId.slice(0, 12);
}

/** In characters that a header may hold. */
export function modelOf({ provider, model }: NamedRoute): string {
  const name = `${provider.name}/${model}`;
  const isPlain = /^[!-~]+$/.test(name);
  const shown = isPlain ? name : name.toWellFormed().replace(/[^!-~]+/g, encodeURIComponent);
  return shown.slice(0, longestModelName);
}
