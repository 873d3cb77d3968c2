// Plays a server of OpenAI's Chat Completions on this machine. The model's name chooses the scenario.
import { bearerOf, openaiFailure, openaiModels } from '../vendor/openai-failures.ts';
import { type VendorOptions, type VendorSandbox, VendorServer } from '../vendor/server.ts';
import type { Failure, Reply, SeenRequest, Turn, Vendor } from '../vendor/vendor.ts';
import type { ChatRequest } from './request.ts';
import { abandonedFrames, answer, contentType, filtered, models } from './scenarios.ts';

class Chat implements Vendor {
  readonly prefix: string;
  readonly scenarios = models;
  readonly malformedFrame = 'data: {"id":"chatcmpl-up", oops\n\n';

  constructor({ prefix = '/v1' }: VendorOptions) {
    this.prefix = prefix;
  }

  keyOf(headers: SeenRequest['headers']): string {
    return bearerOf(headers);
  }

  turnOf(_seen: SeenRequest, path: string, _url: URL, body: unknown) {
    if (path !== '/chat/completions') return undefined;
    const { model, stream } = (body ?? {}) as Partial<ChatRequest>;
    return { model: String(model), isStream: stream === true };
  }

  other(
    seen: SeenRequest,
    path: string,
    _url: URL,
    _body: unknown,
    known: readonly string[],
  ): Reply | undefined {
    return seen.method === 'GET' && path === '/models' ? openaiModels(known) : undefined;
  }

  failure(kind: Failure, _seen: SeenRequest, detail?: string): Reply {
    return openaiFailure(kind, detail);
  }

  answer(turn: Turn) {
    return answer(turn);
  }

  filtered(turn: Turn) {
    return filtered(turn);
  }

  abandoned(turn: Turn) {
    return { frames: abandonedFrames(turn), contentType };
  }

  isPrefilled({ body }: Turn): boolean {
    return (body as ChatRequest).messages.at(-1)?.role === 'assistant';
  }
}

export function startOpenaiSandbox(options: VendorOptions = {}): Promise<VendorSandbox> {
  return VendorServer.start(new Chat(options), options);
}
