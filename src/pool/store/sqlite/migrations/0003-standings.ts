import type { Migration } from '../../../../db/migrate.ts';
import { kindBits, kindStates } from '../../rules/kinds.ts';

const stateNumber = kindStates.map((state, number) => `WHEN '${state}' THEN ${number}`).join(' ');
const flags: Record<keyof typeof kindBits, string> = {
  rateLimited: "state = 'cooldown' AND state_reason IS 'rate_limited'",
  gatewayOnly: "lend = 'gateway'",
  free: 'free = 1',
  held: 'holders > 0',
  halfOpen: 'half_open = 1',
  exclusivelyHeld: 'exclusive_held = 1',
  full: 'shared_slots >= capacity',
  modelsLimited: 'models IS NOT NULL',
};
const flagSum = Object.entries(flags)
  .map(([name, condition]) => `${kindBits[name as keyof typeof kindBits]} * (${condition})`)
  .join(' + ');

const countIn = `INSERT INTO standings (provider, kind, accounts) VALUES (NEW.provider, NEW.kind, 1)
    ON CONFLICT (provider, kind) DO UPDATE SET accounts = accounts + 1`;
const countOut =
  'UPDATE standings SET accounts = accounts - 1 WHERE provider = OLD.provider AND kind = OLD.kind';
const formerCounters = [
  'total',
  'available',
  'in_use',
  'standby',
  'active',
  'cooldown',
  'exhausted',
  'reauth_required',
  'disabled',
];

/** Accounts counted by provider and by all that decides whether one can be lent, so that a refusal counts nothing. */
export const standings: Migration = {
  version: 3,
  name: 'accounts counted by provider and standing',
  sql: `
ALTER TABLE accounts ADD COLUMN kind INTEGER GENERATED ALWAYS AS (
  (CASE state ${stateNumber} END) + ${flagSum}
) VIRTUAL;

CREATE TABLE standings (
  provider TEXT NOT NULL,
  kind INTEGER NOT NULL,
  accounts INTEGER NOT NULL CHECK (accounts >= 0),
  PRIMARY KEY (provider, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO standings (provider, kind, accounts)
  SELECT provider, kind, COUNT(*) FROM accounts GROUP BY provider, kind;

DROP TRIGGER accounts_counted_in;
DROP TRIGGER accounts_counted_out;
DROP TRIGGER accounts_recounted;
${formerCounters.map((name) => `ALTER TABLE counters DROP COLUMN ${name};`).join('\n')}

CREATE TRIGGER accounts_counted_in AFTER INSERT ON accounts BEGIN
  ${countIn};
END;
CREATE TRIGGER accounts_counted_out AFTER DELETE ON accounts BEGIN
  ${countOut};
END;
CREATE TRIGGER accounts_recounted
AFTER UPDATE OF state, state_reason, lend, free, holders, half_open, exclusive_held, shared_slots, capacity, models
ON accounts WHEN OLD.kind <> NEW.kind
BEGIN
  ${countOut};
  ${countIn};
END;

CREATE INDEX accounts_resting_by_provider ON accounts (provider, state_until) WHERE state_until IS NOT NULL;
CREATE INDEX accounts_with_models ON accounts (provider) WHERE models IS NOT NULL;
CREATE INDEX accounts_by_provider ON accounts (provider, seq);
CREATE INDEX accounts_by_label ON accounts (label COLLATE NOCASE) WHERE label IS NOT NULL;
CREATE INDEX sessions_of_gateways ON sessions (expires_at) WHERE is_gateway = 1;
`,
};
