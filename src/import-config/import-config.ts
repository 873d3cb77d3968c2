import { basename } from 'node:path';
import { parse, stringify, YAMLError } from 'yaml';
import { readTextFile } from '../lib/files.ts';
import { isJsonObject } from '../lib/parse-json.ts';
import { convertClaudeCodeRouter } from './claude-code-router.ts';
import { Conversion } from './conversion.ts';
import { convertLitellm } from './litellm.ts';

/** Converts the configuration of LiteLLM's proxy or of claude-code-router. Throws with a message that says what to do. */
export function importConfig(file: string) {
  const config = read(file);
  const conversion = new Conversion();
  if (isJsonObject(config) && Array.isArray(config['model_list'])) convertLitellm(config, conversion);
  else if (
    isJsonObject(config) &&
    (config['Providers'] ?? config['providers'] ?? config['Router']) !== undefined
  )
    convertClaudeCodeRouter(config, conversion);
  else
    throw new Error(
      `${file} is neither a config.yaml of LiteLLM (model_list) nor a config.json of claude-code-router (Providers).`,
    );
  const { notes, commands, sections } = conversion;
  const head = [`Converted from ${basename(file)}.`];
  if (commands.length > 0) head.push('Accounts:', ...commands.map((command) => `  ${command}`));
  if (notes.length > 0) head.push('Not converted:', ...notes.map((note) => `  ${note}`));
  const comment = head.map((line) => `# ${line}`.replace(/\p{Cc}/gu, ' ')).join('\n');
  const body =
    Object.keys(sections).length === 0
      ? ''
      : stringify(sections, { lineWidth: 0, aliasDuplicateObjects: false });
  return { yaml: `${comment}\n${body}`, notes, commands };
}

/** What the parser says quotes what it read, which may be a key. */
function read(file: string): unknown {
  const text = readTextFile(file);
  try {
    return file.endsWith('.json') ? JSON.parse(withoutComments(text)) : parse(text, { prettyErrors: false });
  } catch (error) {
    const place =
      error instanceof YAMLError ? `, line ${text.slice(0, error.pos[0]).split('\n').length}` : '';
    throw new Error(`${file}${place} is not valid ${file.endsWith('.json') ? 'JSON' : 'YAML'}.`);
  }
}

/** Comments and commas behind the last item, which claude-code-router takes. */
function withoutComments(text: string): string {
  const string = String.raw`"(?:\\.|[^"\\])*"`;
  const bare = text.replace(new RegExp(`(${string})|//[^\\n]*|/\\*[\\s\\S]*?\\*/`, 'g'), '$1');
  return bare.replace(new RegExp(`(${string})|,(?=\\s*[}\\]])`, 'g'), '$1');
}
