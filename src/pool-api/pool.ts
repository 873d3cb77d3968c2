import type { TraceHeaders } from '../lib/telemetry/trace-headers.ts';
import type {
  Account,
  AccountChange,
  AccountDetails,
  ExportRequest,
  ImportAnswer,
  ImportRequest,
  ListAnswer,
  ListQuery,
  Login,
  NewAccount,
  NewLogin,
} from './account-schema.ts';
import type {
  AuditAnswer,
  AuditQuery,
  RefreshTokensAnswer,
  RefreshTokensRequest,
  ReplenishAnswer,
  ReplenishRequest,
  SessionsAnswer,
  SessionsQuery,
  StatusAnswer,
} from './owner-schema.ts';
import type { Readiness } from './readiness.ts';
import type {
  AllocateAnswer,
  AllocateRequest,
  EligibleAnswer,
  EligibleRequest,
  PoolEvent,
  ReleaseAnswer,
  ReleaseRequest,
  ReportAnswer,
  ReportRequest,
} from './schema.ts';

/** How the pool is asked, beside what for. */
export interface AllocateCall {
  /** The caller has just made the session's id: what was lent is given back when the call fails. */
  readonly isNew?: boolean;
  /** Of the turn that needs the account. */
  readonly trace?: TraceHeaders | undefined;
}

/**
 * The pool as borrowers see it, whether it is in this process or behind HTTP.
 * Every call throws PoolError; over HTTP `pool_unavailable` when the pool could not be reached.
 */
export interface Pool {
  allocate(request: AllocateRequest, signal?: AbortSignal, call?: AllocateCall): Promise<AllocateAnswer>;
  /** Which accounts would do for a turn; nothing is lent. */
  eligible(request: EligibleRequest): Promise<EligibleAnswer>;
  release(request: ReleaseRequest): Promise<ReleaseAnswer>;
  report(request: ReportRequest): Promise<ReportAnswer>;
  /** Events from now on until the signal aborts. `onState` tells whether events are flowing. */
  subscribe(
    onEvent: (event: PoolEvent) => void,
    onState: (isConnected: boolean) => void,
    signal: AbortSignal,
  ): void;
  health(): Promise<PoolHealth>;
}

export interface PoolHealth {
  /** It answers, and so does its database. */
  readonly isReachable: boolean;
  /** It answers, and its database does not. */
  readonly lacksStore?: boolean;
  /** It lends sandbox accounts. */
  readonly isSandbox: boolean;
  /** The providers it has accounts of that are not given up; undefined where it does not say. */
  readonly providers: readonly string[] | undefined;
  /** How they stand to this caller; undefined where it does not say. */
  readonly accounts?: Readiness | undefined;
  /** Whom the pool takes this caller for; `unknown` where it does not accept the key, undefined where it does not say. */
  readonly caller?: 'admin' | 'borrower' | 'gateway' | 'unknown' | undefined;
  /** How many accounts in service are lent to gateways only. */
  readonly gatewayOnly: number;
  /** True while its database takes no changes; undefined where it does not say. */
  readonly isReadOnly?: boolean | undefined;
}

/** The pool as its owner sees it. Every call throws PoolError. */
export interface PoolAdmin {
  addAccount(account: NewAccount): Promise<Account>;
  listAccounts(query: ListQuery): Promise<ListAnswer>;
  getAccount(id: string): Promise<AccountDetails>;
  changeAccount(id: string, change: AccountChange): Promise<Account>;
  removeAccount(id: string): Promise<void>;
  importAccounts(request: ImportRequest): Promise<ImportAnswer>;
  /** A sealed file, piece by piece. */
  exportAccounts(request: ExportRequest): Promise<AsyncIterable<string>>;
  /** Begins a login that a person approves in a browser; the pool waits for it by itself. */
  startLogin(login: NewLogin): Promise<Login>;
  getLogin(id: string): Promise<Login>;
  replenish(request: ReplenishRequest): Promise<ReplenishAnswer>;
  refreshTokens(request: RefreshTokensRequest): Promise<RefreshTokensAnswer>;
  listSessions(query: SessionsQuery): Promise<SessionsAnswer>;
  /** Ends a session of any holder; answers how many accounts came free. */
  releaseSession(id: string): Promise<number>;
  status(): Promise<StatusAnswer>;
  audit(query: AuditQuery): Promise<AuditAnswer>;
}
