// What Gemini refuses although its form is right.
import { signatureOf } from '../vendor/scenarios.ts';
import type { Content, GenerateRequest, Part } from './request.ts';

/** These two are documented for history that another model wrote. */
const skippingSignatures = ['context_engineering_is_the_way_to_go', 'skip_thought_signature_validator'];

export function signatureFor(call: { readonly name: string; readonly args?: unknown }): string {
  return signatureOf('gemini', JSON.stringify([call.name, call.args ?? {}]));
}

/** Of the text that ends an answer; it may be sent back or not. */
export const textSignature = signatureOf('gemini', 'text');

/** Why the request is refused; undefined where it is not. */
export function refusalOf(request: GenerateRequest, isSigned: boolean): string | undefined {
  const { contents = [] } = request;
  if (contents.length === 0) return '* GenerateContentRequest.contents: contents is not specified\n';
  const turns = joined(contents);
  return (
    partsProblem(contents) ??
    orderProblem(turns) ??
    (isSigned ? signatureProblem(turns) : undefined) ??
    configProblem(request, isSigned)
  );
}

function dataOf({ thought: _thought, thoughtSignature: _signature, ...part }: Part): string[] {
  const meta = ['videoMetadata', 'mediaResolution', 'partMetadata'];
  return Object.keys(part).filter((name) => !meta.includes(name));
}

function partsProblem(contents: readonly Content[]): string | undefined {
  for (const [index, { role = 'user', parts = [] }] of contents.entries()) {
    const at = `* GenerateContentRequest.contents[${index}]`;
    if (!['user', 'model', 'function'].includes(role)) return 'Please use a valid role: user, model.';
    if (parts.length === 0) return `${at}.parts: contents.parts must not be empty.\n`;
    for (const [position, part] of parts.entries()) {
      const count = dataOf(part).length;
      // A part may hold a signature alone, behind the last text of a stream.
      if (count === 0 && part.thoughtSignature === undefined) {
        return `${at}.parts[${position}].data: required oneof field 'data' must have one initialized field\n`;
      }
      if (count > 1) {
        return `Invalid value at 'contents[${index}].parts[${position}]' (oneof), oneof field 'data' is already set.`;
      }
      if (part.functionResponse && !part.functionResponse.name) {
        return `${at}.parts[${position}].function_response.name: Name cannot be empty.\n`;
      }
      if (part.functionResponse && part.functionResponse.response === undefined) {
        return `${at}.parts[${position}].function_response.response: required field missing\n`;
      }
    }
  }
  return undefined;
}

const countOf = ({ parts = [] }: Content, name: 'functionCall' | 'functionResponse') =>
  parts.filter((part) => part[name] !== undefined).length;

/** Google's and LangChain's clients send one turn as several contents: every chunk of an answer, or every response. */
function joined(contents: readonly Content[]): readonly Content[] {
  const turns: { role: string; parts: Part[] }[] = [];
  for (const { role = 'user', parts = [] } of contents) {
    const last = turns.at(-1);
    if (last?.role === role) last.parts.push(...parts);
    else turns.push({ role, parts: [...parts] });
  }
  return turns;
}

function orderProblem(contents: readonly Content[]): string | undefined {
  for (const [index, content] of contents.entries()) {
    const before = contents[index - 1];
    const calls = countOf(content, 'functionCall');
    const responses = countOf(content, 'functionResponse');
    if (calls > 0 && content.role !== 'model') return 'Function calls must have the role model.';
    if (calls > 0 && (before === undefined || before.role === 'model')) {
      return 'Please ensure that function call turn comes immediately after a user turn or after a function response turn.';
    }
    if (responses > 0 && (before === undefined || countOf(before, 'functionCall') === 0)) {
      return 'Please ensure that function response turn comes immediately after a function call turn.';
    }
    const expected = before ? countOf(before, 'functionCall') : 0;
    if (expected !== responses) {
      return 'Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.';
    }
  }
  const last = contents.at(-1);
  if (last && countOf(last, 'functionCall') > 0) {
    return 'Please ensure that function call turn is followed by a function response turn.';
  }
  return undefined;
}

/** The contents since the user's last words. */
export function currentTurn(contents: readonly Content[]): readonly Content[] {
  const last = contents.findLastIndex(
    (content) => content.role !== 'model' && countOf(content, 'functionResponse') === 0,
  );
  return contents.slice(last + 1);
}

/** In the turn that is running the first call of each step must have the signature it came with. */
function signatureProblem(contents: readonly Content[]): string | undefined {
  for (const { parts = [] } of currentTurn(contents)) {
    const position = parts.findIndex(({ functionCall }) => functionCall !== undefined);
    const part = parts[position];
    if (part?.functionCall === undefined) continue;
    if (part.thoughtSignature === undefined) {
      return `Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly, and missing thought_signature may lead to degraded model performance. Additional data, function call \`default_api:${part.functionCall.name}\` , position ${position + 1}. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.`;
    }
  }
  for (const { parts = [] } of contents) {
    for (const { functionCall: call, thoughtSignature: signature } of parts) {
      if (signature === undefined || skippingSignatures.includes(signature)) continue;
      if (signature !== (call ? signatureFor(call) : textSignature)) return 'Corrupted thought signature.';
    }
  }
  return undefined;
}

function configProblem(request: GenerateRequest, isSigned: boolean): string | undefined {
  const { generationConfig: config = {}, toolConfig, tools = [] } = request;
  const { mode, allowedFunctionNames: allowed = [] } = toolConfig?.functionCallingConfig ?? {};
  const declarations = tools.flatMap(({ functionDeclarations = [] }) => functionDeclarations);
  const names = declarations.map(({ name }) => name);
  const { thinkingLevel, thinkingBudget } = config.thinkingConfig ?? {};
  const isJson = config.responseMimeType === 'application/json';
  const hasSchema = config.responseSchema !== undefined || config.responseJsonSchema !== undefined;
  const problems: readonly (readonly [boolean, string])[] = [
    [new Set(names).size !== names.length, `Duplicate function declaration found: ${names.at(-1)}`],
    [
      declarations.some((one) => one.parameters !== undefined && one.parametersJsonSchema !== undefined),
      'Only one of parameters and parameters_json_schema may be set.',
    ],
    [
      allowed.length > 0 && mode !== 'ANY' && mode !== 'VALIDATED',
      'Function calling config is set with allowed_function_names while mode is not ANY or VALIDATED.',
    ],
    [
      allowed.some((name) => !names.includes(name)),
      'allowed_function_names should be a subset of the declared functions.',
    ],
    [mode === 'ANY' && names.length === 0, 'Function calling config is set without function_declarations.'],
    [
      thinkingLevel !== undefined && thinkingBudget !== undefined,
      'You can only set only one of thinking budget and thinking level.',
    ],
    [thinkingLevel !== undefined && !isSigned, 'Thinking level is not supported for this model.'],
    [
      config.responseSchema !== undefined && config.responseJsonSchema !== undefined,
      'Only one of response_schema and response_json_schema may be set.',
    ],
    [
      hasSchema && !isJson,
      '* GenerateContentRequest.generation_config.response_schema: only allowed for mime types application/json and text/x.enum\n',
    ],
    [
      isJson && names.length > 0 && !isSigned,
      "Function calling with a response mime type: 'application/json' is unsupported",
    ],
    [
      config.logprobs !== undefined && config.responseLogprobs !== true,
      'Logprobs is not enabled: set response_logprobs.',
    ],
  ];
  return problems.find(([isProblem]) => isProblem)?.[1];
}
