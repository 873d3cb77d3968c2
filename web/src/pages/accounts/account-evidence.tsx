import { Time } from '../../components/time.tsx';
import { shownDuration } from '../../format.ts';
import { accountDetailsText } from '../../texts/account-details.ts';

const isoTime = /^\d{4}-\d{2}-\d{2}T[\d:.]+Z$/;

/** What a status rests on, as names and values. It comes from outside in part: it is drawn as text, whatever it holds. */
export function Evidence({
  evidence,
  isOpen,
}: {
  readonly evidence: Readonly<Record<string, unknown>>;
  readonly isOpen: boolean;
}) {
  const facts = flattened(evidence);
  if (facts.length === 0) return null;
  return (
    <details open={isOpen}>
      <summary>{accountDetailsText().evidence}</summary>
      <dl class="facts">
        {facts.map(([name, value]) => (
          <div key={name}>
            <dt>
              <code>{name}</code>
            </dt>
            <dd>{shownValue(name, value)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}

function shownValue(name: string, value: string) {
  if (isoTime.test(value)) return <Time at={value} />;
  const ms = name.endsWith('_ms') ? Number(value) : Number.NaN;
  return <bdi>{Number.isNaN(ms) ? value : shownDuration(ms)}</bdi>;
}

/** The figures of an answer stand beside what was noted with it; no name occurs in both. */
function flattened(value: Readonly<Record<string, unknown>>): readonly (readonly [string, string])[] {
  return Object.entries(value).flatMap(([name, part]) => {
    if (part === null || part === undefined) return [];
    if (typeof part === 'object' && !Array.isArray(part)) return flattened(part as Record<string, unknown>);
    return [[name, typeof part === 'string' ? part : JSON.stringify(part)] as const];
  });
}
