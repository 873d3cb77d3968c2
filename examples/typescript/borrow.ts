/**
 * Borrows an account from a running pool, calls its provider with the bearer, reports how it went and gives it back.
 *
 *   node examples/typescript/borrow.ts
 *
 * POOL_SERVICE_URL is the pool (default http://localhost:8019), POOL_API_KEY its key where it has one. PROVIDER_URL is
 * where the provider listens, such as a sandbox on this machine; without it the call to the provider is left out.
 */
import { AccountPoolClient, type Bearer, isPoolError, type Outcome } from 'warp2api/pool-client';

const {
  POOL_SERVICE_URL: baseUrl = 'http://localhost:8019',
  POOL_API_KEY: apiKey,
  PROVIDER_URL,
} = process.env;

/** Any call of the provider's own API; here Warp's question what the account has used. */
async function callProvider({ token }: Bearer, url: string): Promise<{ outcome: Outcome; status: number }> {
  const query = `query GetRequestLimitInfo($requestContext: RequestContext!) { user(requestContext: $requestContext) {
    ... on UserOutput { user { requestLimitInfo { requestLimit requestsUsedSinceLastRefresh } } } } }`;
  const answer = await fetch(`${url}/graphql/v2?op=GetRequestLimitInfo`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({
      query,
      operationName: 'GetRequestLimitInfo',
      variables: { requestContext: { clientContext: {}, osContext: {} } },
    }),
  });
  console.log(`the provider answered ${answer.status}: ${(await answer.text()).slice(0, 100)}`);
  return { outcome: outcomeOf(answer.status), status: answer.status };
}

function outcomeOf(status: number): Outcome {
  if (status < 400) return 'success';
  if (status === 401) return 'unauthorized';
  if (status === 402 || status === 403) return 'refused';
  if (status === 429) return 'rate_limited';
  return status < 500 ? 'protocol' : 'unavailable';
}

async function borrow(pool: AccountPoolClient): Promise<void> {
  await using session = await pool.allocate({ wait_ms: 5_000 });
  session.onLost(({ reason }) => console.log(`the pool took an account back: ${reason}`));
  const bearer = await session.token();
  const { id, provider } = bearer.account;
  console.log(`borrowed ${id} of ${provider} until ${session.expiresAt.toISOString()}`);
  if (PROVIDER_URL === undefined) return console.log('PROVIDER_URL is not set: the provider is not called');
  const { outcome } = await callProvider(bearer, PROVIDER_URL);
  session.queueReport(bearer.account, outcome, { usage: { turns: 1 } });
} // the report is sent and the account given back here

await using pool = new AccountPoolClient({ baseUrl, apiKey });
const stop = new AbortController();
const listening = pool.listen((news) => console.log(`event: ${JSON.stringify(news)}`), {
  signal: stop.signal,
});
try {
  await borrow(pool);
  console.log('gave it back');
} catch (error) {
  if (!isPoolError(error)) throw error;
  console.error(`${error.code}: ${error.message}`);
  process.exitCode = 1;
} finally {
  stop.abort();
  await listening;
}
