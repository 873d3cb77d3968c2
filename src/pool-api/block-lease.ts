import type { LeasedAccount, ReportItem } from './schema.ts';
import type { ReportDetails } from './turn-report.ts';

/** One turn's right to use an account. Ends with `release()` or its `using` block. */
export class BlockLease {
  /** As it was when the turn began; reports speak of this bearer. */
  readonly account: LeasedAccount;
  readonly #end: () => void;
  readonly #report: (outcome: ReportItem['outcome'], details: ReportDetails) => void;
  readonly #isHeld: () => boolean;

  /** Made by `LeaseBlock.take`. */
  constructor(
    account: LeasedAccount,
    turn: {
      end(): void;
      report(outcome: ReportItem['outcome'], details: ReportDetails): void;
      isHeld(): boolean;
    },
  ) {
    this.account = account;
    this.#end = turn.end;
    this.#report = turn.report;
    this.#isHeld = turn.isHeld;
  }

  /** The bearer to send to the provider. */
  get token(): string {
    return this.account.id_token;
  }

  /** False once the pool has taken the account back: others may use it now. */
  get isHeld(): boolean {
    return this.#isHeld();
  }

  /**
   * Tells the pool how the turn went, without waiting. Throws PoolError `invalid_request` for figures it would refuse.
   *
   * @example
   * lease.report('rate_limited', { retry_after_ms: 2_000 });
   */
  report(outcome: ReportItem['outcome'], details: ReportDetails = {}): void {
    this.#report(outcome, details);
  }

  /** Ends the turn; the block keeps the account for the next one. Doing it twice is harmless. */
  release(): void {
    this.#end();
  }

  [Symbol.dispose](): void {
    this.#end();
  }
}
