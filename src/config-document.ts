import { createRequire } from 'node:module';
import type { z } from 'zod';
import { unknownFields } from './core/near-names.ts';
import { plainRule } from './core/plain-rule.ts';
import { isJsonObject } from './lib/parse-json.ts';

/** The text of warp2api.yaml, and where in it a value stands. */

// Loaded where there is a file.
const require = createRequire(import.meta.url);
const yaml = () => require('yaml') as typeof import('yaml');

export type ConfigPath = readonly (string | number)[];

export class ConfigDocument {
  readonly #document: ReturnType<ReturnType<typeof yaml>['parseDocument']>;
  readonly #lines: InstanceType<ReturnType<typeof yaml>['LineCounter']>;
  /** Why it cannot be read; undefined where it can. The parser's own message quotes what it read, which may be a secret. */
  readonly fault: string | undefined;
  readonly content: unknown;

  constructor(text: string) {
    const { parseDocument, LineCounter, isAlias, visit } = yaml();
    this.#lines = new LineCounter();
    this.#document = parseDocument(text, { prettyErrors: false, lineCounter: this.#lines });
    const [error] = this.#document.errors;
    if (error) {
      this.fault = `${this.#placeOf(error.pos[0])} is not valid YAML (${error.code}).`;
      return;
    }
    let lost: number | undefined;
    visit(this.#document, {
      Alias: (_key, node) => {
        if (isAlias(node) && !node.resolve(this.#document)) lost ??= node.range?.[0];
      },
    });
    try {
      this.content = this.#document.toJS() ?? {};
    } catch {
      const place = lost === undefined ? 'it' : this.#placeOf(lost);
      this.fault = `${place} is not valid YAML: put quotes around a value that begins with * or &.`;
    }
  }

  /** `line 3, column 5`: of the value, or, where it is missing, of what it is missing in. `key`: of that key in it. */
  placeOf(path: ConfigPath, key?: string): string {
    const { isMap, isPair, isScalar, isSeq } = yaml();
    let node: unknown = this.#document.contents;
    let at = 0;
    const note = (one: unknown) => {
      const range = (one as { readonly range?: readonly number[] } | null | undefined)?.range;
      if (range) at = range[0] ?? at;
    };
    note(node);
    for (const step of key === undefined ? path : [...path, key]) {
      if (isMap(node)) {
        const pair = node.items.find(
          (item) => String(isScalar(item.key) ? item.key.value : item.key) === String(step),
        );
        if (!isPair(pair)) break;
        note(pair.key);
        node = pair.value;
      } else if (isSeq(node)) {
        node = node.items[Number(step)];
      } else break;
      const isEmpty = isScalar(node) && node.source === '';
      if (!isEmpty && key === undefined) note(node);
    }
    return this.#placeOf(at);
  }

  #placeOf(offset: number): string {
    const { line, col } = this.#lines.linePos(offset);
    return `line ${line}, column ${col}`;
  }
}

/** What is wrong, by the schema, and where. */
export function faultOf(schema: z.ZodType, content: unknown, issue: z.core.$ZodIssue) {
  const path = issue.path as ConfigPath;
  if (issue.code !== 'unrecognized_keys') return { path, key: undefined, reason: reasonOf(issue) };
  const known = fieldsAt(schema, content, path);
  const [key] = issue.keys;
  return { path, key, reason: `there is no field ${unknownFields(issue.keys, known)}` };
}

/** A faulty key of a record says in an inner issue what is wrong with it. */
function reasonOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_key') return issue.issues[0]?.message ?? issue.message;
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined')) return 'is missing';
  return plainRule(issue.message);
}

function fieldsAt(schema: z.core.$ZodType, value: unknown, path: ConfigPath): string[] {
  const { def } = schema._zod as z.core.$ZodTypes['_zod'];
  const [step, ...others] = path;
  const inner =
    (isJsonObject(value) || Array.isArray(value)) && step !== undefined ? (value as never)[step] : undefined;
  switch (def.type) {
    case 'optional':
    case 'nullable':
    case 'default':
    case 'readonly':
      return fieldsAt(def.innerType, value, path);
    case 'pipe':
      return fieldsAt(def.in, value, path);
    case 'array':
      return fieldsAt(def.element, inner, others);
    case 'record':
      return fieldsAt(def.valueType, inner, others);
    case 'union': {
      const type = isJsonObject(value) ? value['type'] : undefined;
      const meant = def.options.find((one) => one._zod.propValues?.['type']?.has(type as string));
      return meant ? fieldsAt(meant, value, path) : [];
    }
    case 'object': {
      if (step === undefined) return Object.keys(def.shape);
      const field = def.shape[String(step)];
      return field ? fieldsAt(field, inner, others) : [];
    }
    default:
      return [];
  }
}
