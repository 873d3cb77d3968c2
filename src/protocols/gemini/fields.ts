import {
  type FieldTable,
  honoured,
  ignored,
  passedOn,
  refused,
  silent,
  translated,
} from '../shared/field-table.ts';

/** Every field of a request to generate content and what becomes of it. Read by the decoder and by docs/fields.md. */
export const geminiFields = {
  model: silent('the path names the model; an unknown name is a 404 with near names'),
  contents: honoured('as the parts below tell'),
  systemInstruction: honoured('as rules of the upstream; a content, its parts or plain text'),
  tools: translated('see the table of tools below'),
  'tools[].functionDeclarations[].response': silent('what a result holds is the client’s own affair'),
  'tools[].functionDeclarations[].responseJsonSchema': silent('as `response`'),
  'tools[].functionDeclarations[].behavior': ignored('the model waits for results', {
    neutral: ['UNSPECIFIED', 'BLOCKING'],
  }),
  'toolConfig.functionCallingConfig.mode': translated(
    '`NONE` offers no functions, and a call anyway is an error; an answer without the call that `ANY` demands is sent back once and is an error the second time, a streamed one is held until it is whole; `VALIDATED` is as `AUTO`',
  ),
  'toolConfig.functionCallingConfig.allowedFunctionNames': translated('only those are offered'),
  'toolConfig.functionCallingConfig.streamFunctionCallArguments': ignored('calls come whole', {
    neutral: [false],
  }),
  'toolConfig.retrievalConfig': ignored('nothing is searched here'),
  'toolConfig.includeServerSideToolInvocations': ignored('no tool is run here', { neutral: [false] }),
  'generationConfig.candidateCount': honoured(
    'one turn each, side by side, as many as `MAX_CHOICES` allows (1 unless the operator sets it, then more is a 400); usage is the sum',
  ),
  'generationConfig.maxOutputTokens': honoured(
    'kept by counting tokens (o200k_base); the answer ends with `MAX_TOKENS`',
  ),
  'generationConfig.stopSequences': honoured('the answer is cut before the first of them'),
  'generationConfig.responseMimeType': honoured(
    '`application/json` is asked for in the instructions and checked; an answer that is not as asked is sent back once and is an error the second time, a streamed one is held until it is checked; any other type but `text/plain` is a 400',
  ),
  'generationConfig.responseSchema': translated('to a JSON schema'),
  'generationConfig.responseJsonSchema': honoured('as `responseSchema`, and wins where both are sent'),
  'generationConfig.thinkingConfig.includeThoughts': honoured('thoughts are shown only with it'),
  'generationConfig.thinkingConfig.thinkingLevel': passedOn(
    'chooses the model where each effort is a model of its own, as at Warp',
  ),
  'generationConfig.thinkingConfig.thinkingBudget': ignored(
    'an upstream that has budgets or efforts takes it; others think as long as they like',
    { wish: 'reasoningEffort', neutral: [-1, 0] },
  ),
  'generationConfig.temperature': passedOn('Warp and Oz have no such setting', { neutral: [1] }),
  'generationConfig.topP': passedOn('Warp and Oz have no such setting', { neutral: [1] }),
  'generationConfig.topK': ignored('Warp and Oz have no such setting', { wish: 'topK' }),
  'generationConfig.seed': passedOn('Warp and Oz have no such setting'),
  'generationConfig.presencePenalty': passedOn('Warp and Oz have no such setting', { neutral: [0] }),
  'generationConfig.frequencyPenalty': passedOn('Warp and Oz have no such setting', { neutral: [0] }),
  'generationConfig.responseLogprobs': refused('no log probabilities are given: leave it out', {
    neutral: [false],
  }),
  'generationConfig.logprobs': refused('no log probabilities are given: leave it out', { neutral: [0] }),
  'generationConfig.responseModalities': refused('only text can be answered: send ["TEXT"] or leave it out', {
    neutral: [['TEXT'], ['Text'], ['text'], []],
  }),
  'generationConfig.speechConfig': refused('only text can be answered: leave it out'),
  'generationConfig.imageConfig': refused('only text can be answered: leave it out'),
  'generationConfig.mediaResolution': ignored('images are sent as they are'),
  'generationConfig.audioTimestamp': ignored('no upstream is sent audio', { neutral: [false] }),
  'generationConfig.audioTranscriptionConfig': ignored('no upstream is sent audio'),
  'generationConfig.enableEnhancedCivicAnswers': ignored('no upstream has such a setting', {
    neutral: [false],
  }),
  'generationConfig.routingConfig': ignored('the name of the model decides'),
  'generationConfig.modelSelectionConfig': ignored('the name of the model decides'),
  safetySettings: ignored('filters are the upstream’s own', { neutral: [[]] }),
  cachedContent: refused('nothing is cached here: send its contents', { neutral: [''] }),
  continuationToken: refused('answers are not continued here: send the whole conversation'),
  modelArmorConfig: refused('there is no such filter here: leave it out'),
  generationOutputConfig: refused('answers are stored nowhere: leave it out'),
  serviceTier: ignored('there is one tier', { neutral: ['unspecified', 'standard', 'STANDARD'] }),
  store: silent('nothing is stored'),
  labels: silent('not passed on'),
} as const satisfies FieldTable;

/** What the contents of a request may hold. Shown in docs/fields.md. */
export const geminiParts = {
  text: honoured('everywhere'),
  inlineData: honoured(
    'PNG, JPEG, GIF or WebP by its first bytes; a text file travels as text, a PDF as a document where the upstream takes those; all else cannot be shown',
  ),
  fileData: translated(
    'an image at an address where the operator lets the gateway fetch images; all else cannot be shown',
  ),
  functionCall: honoured('a call without a result gets one that says so; ids may be left out'),
  functionResponse: honoured(
    'found by its id, else by the name of its function in the order of the calls; `output` is its text, `error` that it failed; `parts` may hold images and documents; a new one without its call before it is a 400',
  ),
  'thought, thoughtSignature': silent(
    'accepted with any signature; what the model thought is sent back only to the upstream that signed it, whose proof travels in our signature',
  ),
  'executableCode, codeExecutionResult, toolCall, toolResponse': ignored(
    'what a provider’s own tools left in an answer; the text around it stays',
  ),
  'videoMetadata, mediaResolution, partMetadata and other notes on a part': silent('no effect'),
} as const satisfies FieldTable;
