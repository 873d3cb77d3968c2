import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, isStepCount, streamText, type ToolSet } from 'ai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startTestServices, type TestServices } from './support/services.ts';

// Tools that the client runs, judged by an SDK that checks every item and runs them itself.

let services: TestServices;
beforeAll(async () => {
  services = await startTestServices();
  await services.addAccount('wk-1.good');
});
afterAll(() => services.close());

const png =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const openai = createOpenAI({ apiKey: 'any' }).tools;
const anthropic = createAnthropic({ apiKey: 'any' }).tools;
const lines = async () => 'magnolia';

const responses: Record<string, readonly [ToolSet, string]> = {
  shell: [
    {
      shell: openai.shell({
        execute: async () => ({
          output: [{ stdout: 'magnolia', stderr: '', outcome: { type: 'exit' as const, exitCode: 0 } }],
        }),
      }),
    },
    'call shell {"commands":["ls"]}',
  ],
  'the local shell': [
    { shell: openai.localShell({ execute: async () => ({ output: 'magnolia' }) }) },
    'call local_shell {"command":["ls"]}',
  ],
  'a patch': [
    {
      apply_patch: openai.applyPatch({
        execute: async () => ({ status: 'completed' as const, output: 'magnolia' }),
      }),
    },
    'call apply_patch {"type":"create_file","path":"a","diff":"+x"}',
  ],
  'a deletion': [
    {
      apply_patch: openai.applyPatch({
        execute: async () => ({ status: 'failed' as const, output: 'magnolia' }),
      }),
    },
    'call apply_patch {"type":"delete_file","path":"a"}',
  ],
  'a computer': [
    {
      computer: openai.computer({
        execute: async () => ({
          output: { type: 'computer_screenshot' as const, imageUrl: `data:image/png;base64,${png}` },
        }),
      }),
    },
    'call computer {"actions":[{"type":"screenshot"}]}',
  ],
  'a custom tool': [
    { sql: openai.customTool({ description: 'Asks.', format: { type: 'text' }, execute: lines }) },
    'call sql {"input":"select 1"}',
  ],
};
const messages: Record<string, readonly [ToolSet, string]> = {
  bash: [{ bash: anthropic.bash_20250124({ execute: lines }) }, 'call bash {"command":"ls"}'],
  'a text editor': [
    { str_replace_based_edit_tool: anthropic.textEditor_20250728({ execute: lines }) },
    'call str_replace_based_edit_tool {"command":"view","path":"/"}',
  ],
  'a memory': [
    { memory: anthropic.memory_20250818({ execute: lines }) },
    'call memory {"command":"view","path":"/memories"}',
  ],
};

const cases = [
  ...Object.entries(responses).map(([name, [tools, prompt]]) => ['openai', name, tools, prompt] as const),
  ...Object.entries(messages).map(([name, [tools, prompt]]) => ['anthropic', name, tools, prompt] as const),
];

test.each(cases)('%s: %s is called, run and answered for', async (provider, _name, tools, prompt) => {
  const settings = { baseURL: `${services.gatewayUrl}/v1`, apiKey: 'any' };
  const model =
    provider === 'openai'
      ? createOpenAI(settings).responses('sandbox')
      : createAnthropic(settings)('sandbox');
  const ask = { model, tools, prompt, maxRetries: 0, maxOutputTokens: 1_000, stopWhen: isStepCount(3) };
  for (const store of [true, false]) {
    const options = { ...ask, providerOptions: { openai: { store } } };
    const streamed = streamText(options);
    for await (const part of streamed.fullStream) if (part.type === 'error') throw part.error;
    for (const steps of [await streamed.steps, (await generateText(options)).steps]) {
      expect(steps).toHaveLength(2);
      expect(steps[0]?.toolResults).toHaveLength(1);
    }
    const answered = services.upstream.turns.slice(-3).filter(({ toolResults }) => toolResults.length > 0);
    expect(answered).toMatchObject(Array(2).fill({ problems: [], toolResults: [{}] }));
  }
});
