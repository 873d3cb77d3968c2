// Plays a server of OpenAI's Chat Completions on this machine. The model's name chooses the scenario.
import { OpenaiVendor } from '../vendor/openai-vendor.ts';
import { type VendorOptions, type VendorSandbox, VendorServer } from '../vendor/server.ts';
import { askedIn, type SeenRequest, type Turn, type Vendor } from '../vendor/vendor.ts';
import type { ChatRequest } from './request.ts';
import { abandonedFrames, answer, contentType, filtered, models } from './scenarios.ts';

class Chat extends OpenaiVendor implements Vendor {
  readonly scenarios = models;
  readonly malformedFrame = 'data: {"id":"chatcmpl-up", oops\n\n';

  turnOf(_seen: SeenRequest, path: string, _url: URL, body: unknown) {
    return path === '/chat/completions' ? askedIn(body) : undefined;
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
  return VendorServer.start(new Chat(), options);
}
