import type { Sandbox } from '../../sandbox/index.ts';
import type { VendorSandbox } from '../../sandbox/vendor/server.ts';
import { modelOf, type VendorName } from '../vendors.ts';
import type { Client } from './client.ts';
import { vendorProblems } from './vendor-problems.ts';

/** What answers a client behind the gateway, and what is to be said of how it was asked. */
export interface Upstream {
  readonly name: 'warp' | VendorName;
  readonly model: string;
  turnCount(): number;
  toolNames(from: number): readonly string[];
  /** What it was asked, for a person to read. */
  requests(from: number): readonly unknown[];
  /** What was wrong with the turns since the first `from`. */
  problems(from: number, client: Client): readonly string[];
  /** How the conversation reached it. */
  remark(from: number, client: Client): string;
}

export function warpUpstream({ turns }: Sandbox): Upstream {
  return {
    name: 'warp',
    model: 'sandbox',
    turnCount: () => turns.length,
    toolNames: (from) => turns.slice(from).flatMap((turn) => turn.toolNames),
    requests: (from) => turns.slice(from),
    problems: (from) => turns.slice(from).flatMap((turn) => turn.problems),
    // A folded history holds the result as text: what came as a result went on with a remembered conversation.
    remark: (from) =>
      turns.slice(from).some(({ toolResults }) => toolResults.length > 0)
        ? 'the conversation went on'
        : 'the whole history was resent',
  };
}

const spoken: Readonly<Record<VendorName, Client['dialect']>> = {
  chat: 'Chat Completions',
  responses: 'Responses',
  anthropic: 'Messages',
  gemini: 'Gemini',
};

export function vendorUpstream(name: VendorName, { turns }: VendorSandbox): Upstream {
  const isRelayed = ({ dialect }: Client) => dialect === spoken[name];
  return {
    name,
    model: modelOf(name, 'agent'),
    turnCount: () => turns.length,
    toolNames: (from) => [...new Set(turns.slice(from).flatMap(({ text }) => namesIn(text)))],
    requests: (from) =>
      turns.slice(from).map(({ path, status, headers, refusal, text }) => ({
        path,
        status,
        refusal,
        headers,
        body: JSON.parse(text) as unknown,
      })),
    problems: (from, client) => vendorProblems(name, turns.slice(from), isRelayed(client)),
    remark: (_from, client) => (isRelayed(client) ? 'relayed' : 'translated'),
  };
}

function namesIn(text: string): string[] {
  return [...text.matchAll(/"name":"([\w.:-]+)"/g)].map(([, name = '']) => name);
}
