import { type FieldTable, honoured, ignored, passedOn, refused, silent, translated } from './field-table.ts';

/** Fields that mean the same in a Chat Completions and in a Responses request. */
export const openaiFields = {
  tool_choice: translated(
    '`none` offers no tools, and a call anyway is an error; `allowed_tools` offers those it names; a named tool is offered alone; an answer without the call that `required` or a name demands is sent back once and is an error the second time, a streamed one is held until it is whole',
  ),
  parallel_tool_calls: honoured(
    'passed to the upstream; with `false` only the first call of an answer is passed on; the next turn then resends the whole conversation',
  ),
  temperature: passedOn('Warp and Oz have no such setting', { neutral: [1] }),
  top_p: passedOn('Warp and Oz have no such setting', { neutral: [1] }),
  presence_penalty: passedOn('Warp and Oz have no such setting', { neutral: [0] }),
  frequency_penalty: passedOn('Warp and Oz have no such setting', { neutral: [0] }),
  service_tier: ignored('there is one tier', { neutral: ['auto', 'default'], wish: 'openai.service_tier' }),
  top_logprobs: refused('no log probabilities are given: leave it out', { neutral: [0] }),
  moderation: refused('nothing is moderated here: leave it out'),
  prompt_cache_options: silent('elsewhere the upstream keeps caches as it likes', {
    wish: 'openai.prompt_cache_options',
  }),
  prompt_cache_retention: silent('elsewhere the upstream keeps caches as it likes', {
    wish: 'openai.prompt_cache_retention',
  }),
} as const satisfies FieldTable;
