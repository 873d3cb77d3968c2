import { z } from 'zod';

/** An HTTP interface as its programs describe it, and the OpenAPI document made from that. */

export interface ApiAnswer {
  readonly description: string;
  /** Absent: the answer is no JSON, or has no body. */
  readonly body?: z.ZodType;
  /** Default `application/json`. */
  readonly contentType?: string;
  /** What it means, by the header's name. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface ApiRoute {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** With parameters in braces, such as `/api/accounts/{id}`. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** Which key opens it: a name of `keys`, or `open` for everybody. */
  readonly access: string;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** Where it is no JSON: the handler gets its bytes. */
  readonly bodyType?: 'multipart/form-data';
  /** A call without a body means one with the defaults. */
  readonly isBodyOptional?: boolean;
  /** By status. */
  readonly answers: Readonly<Record<number, ApiAnswer>>;
  /** What it may answer instead, where that differs from the interface's `error`. */
  readonly error?: z.ZodType;
}

export interface ApiDescription {
  readonly title: string;
  readonly version: string;
  readonly description: string;
  /** The keys, by the name that routes give as their access. */
  readonly keys: Readonly<Record<string, string>>;
  readonly routes: readonly ApiRoute[];
  /** What every route may answer instead. */
  readonly error: z.ZodType;
  /** All bodies, by the names they have in the document, which begin with a capital there. Other values are passed over. */
  readonly schemas: Readonly<Record<string, unknown>>;
}

type Json = Record<string, unknown>;

export interface ApiOperation {
  readonly summary: string;
  readonly description?: string;
  readonly operationId: string;
  readonly security: readonly Json[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: 'path' | 'query';
    readonly required: boolean;
    readonly schema: Json;
  }[];
  readonly requestBody?: { readonly required: boolean; readonly content: Json };
  readonly responses: Readonly<
    Record<string, { readonly description: string; readonly headers?: Json; readonly content?: Json }>
  >;
}

export interface ApiDocument {
  readonly openapi: '3.1.0';
  readonly info: { readonly title: string; readonly version: string; readonly description: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, ApiOperation>>>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, Json>>;
    readonly securitySchemes?: Readonly<Record<string, Json>>;
  };
}

/** The document of an interface. Requests show what may be sent, answers what comes. */
export function apiDocument(api: ApiDescription): ApiDocument {
  const names = namesOf(api);
  const requests = api.routes.map(({ body }) => body);
  const answers = api.routes.flatMap(({ answers: all, error }) => [
    ...Object.values(all).map(({ body }) => body),
    error,
  ]);
  const paths: Record<string, Record<string, ApiOperation>> = {};
  for (const route of api.routes) {
    const operations = paths[route.path] ?? {};
    operations[route.method.toLowerCase()] = operationOf(route, api, names);
    paths[route.path] = operations;
  }
  const keys = Object.entries(api.keys).map(([name, description]) => [
    name,
    { type: 'http', scheme: 'bearer', description },
  ]);
  return {
    openapi: '3.1.0',
    info: { title: api.title, version: api.version, description: api.description },
    paths,
    components: {
      schemas: {
        ...jsonSchemas(requests, names, 'input'),
        ...jsonSchemas([...answers, api.error], names, 'output'),
      },
      ...(keys.length === 0 ? {} : { securitySchemes: Object.fromEntries(keys) as Record<string, Json> }),
    },
  };
}

type Names = ReadonlyMap<unknown, string>;

function namesOf({ schemas }: ApiDescription): Names {
  return new Map(
    Object.entries(schemas).map(([name, schema]) => [schema, name[0]?.toUpperCase() + name.slice(1)]),
  );
}

function operationOf(route: ApiRoute, api: ApiDescription, names: Names): ApiOperation {
  const parameters = [...pathParameters(route.path), ...queryParameters(route.query)];
  const answers = Object.entries(route.answers).map(([status, answer]) => [
    status,
    responseOf(answer, names),
  ]);
  return {
    summary: route.summary,
    ...(route.description === undefined ? {} : { description: route.description }),
    operationId: operationId(route),
    security: route.access === 'open' ? [] : [{ [route.access]: [] }],
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: route.isBodyOptional !== true,
            content: schemaContent(route.body, names, route.bodyType),
          },
        }),
    responses: {
      ...Object.fromEntries(answers),
      default: responseOf(
        { description: 'An error; its code says why.', body: route.error ?? api.error },
        names,
      ),
    },
  };
}

/**
 * OpenAPI 3.1 has no words for the events of a stream: readers take a schema for each event's or for the whole's. JSON without a schema
 * is any value.
 */
const withoutSchema: ReadonlySet<string> = new Set(['text/event-stream', 'application/json']);

function responseOf(answer: ApiAnswer, names: Names): ApiOperation['responses'][string] {
  const { body, contentType } = answer;
  const description = {
    description: answer.description,
    ...(answer.headers && { headers: headersOf(answer.headers) }),
  };
  if (body === undefined && contentType === undefined) return description;
  const content =
    body === undefined || contentType !== undefined
      ? {
          [contentType ?? 'text/plain']: withoutSchema.has(contentType ?? '')
            ? {}
            : { schema: { type: 'string' } },
        }
      : {};
  return {
    ...description,
    content: { ...content, ...(body === undefined ? {} : schemaContent(body, names)) },
  };
}

function headersOf(headers: Readonly<Record<string, string>>): Json {
  const described = Object.entries(headers).map(([name, description]) => [
    name,
    { description, schema: { type: 'string' } },
  ]);
  return Object.fromEntries(described) as Json;
}

function schemaContent(schema: z.ZodType, names: Names, type = 'application/json'): Json {
  return { [type]: { schema: { $ref: referenceTo(nameOf(schema, names)) } } };
}

function nameOf(schema: z.ZodType, names: Names): string {
  const name = names.get(schema);
  if (name === undefined) throw new Error('A route names a schema that is not among those of its interface.');
  return name;
}

const referenceTo = (name: string): string => `#/components/schemas/${name}`;

function jsonSchemas(
  used: readonly (z.ZodType | undefined)[],
  names: Names,
  io: 'input' | 'output',
): Record<string, Json> {
  const registry = z.registry<{ id: string }>();
  for (const schema of used) if (schema !== undefined) registry.add(schema, { id: nameOf(schema, names) });
  const { schemas } = z.toJSONSchema(registry, {
    io,
    uri: referenceTo,
    unrepresentable: 'any',
    override: ({ jsonSchema }) => plainer(jsonSchema, io),
  });
  // The document says itself which dialect it speaks, and where each schema stands.
  return Object.fromEntries(
    Object.entries(schemas).map(([name, { $schema: _dialect, $id: _place, ...schema }]) => [name, schema]),
  );
}

/** Leaves out what says nothing to a reader, and lets answers grow without breaking their readers. */
function plainer(schema: z.core.JSONSchema.BaseSchema, io: 'input' | 'output'): void {
  if (schema.format === 'date-time') delete schema.pattern;
  // A request above the greatest whole number is refused.
  if (io === 'input') {
    allowNulls(schema);
    return;
  }
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  if (schema.additionalProperties === false) delete schema.additionalProperties;
}

/** What may be left out of a request may be null as well. */
function allowNulls(schema: z.core.JSONSchema.BaseSchema): void {
  const { properties = {}, required = [] } = schema;
  for (const [name, property] of Object.entries(properties)) {
    if (!required.includes(name) && typeof property === 'object') properties[name] = orNull(property);
  }
}

function orNull(schema: z.core.JSONSchema.BaseSchema): z.core.JSONSchema.BaseSchema {
  const { type, enum: values, const: value, anyOf, $ref } = schema;
  const takesAny = type === undefined && values === undefined && anyOf === undefined && $ref === undefined;
  const takesNull = type === 'null' || (Array.isArray(type) && type.includes('null'));
  if (takesAny || takesNull) return schema;
  if (anyOf !== undefined) {
    const isThere = anyOf.some((one) => one.type === 'null');
    return isThere ? schema : { ...schema, anyOf: [...anyOf, { type: 'null' }] };
  }
  if (typeof type !== 'string' || value !== undefined) return { anyOf: [schema, { type: 'null' }] };
  return {
    ...schema,
    type: [type, 'null'] as never,
    ...(values !== undefined && { enum: [...values, null] }),
  };
}

function pathParameters(path: string) {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path' as const,
    required: true,
    schema: { type: 'string' },
  }));
}

function queryParameters(query: z.ZodObject | undefined) {
  if (query === undefined) return [];
  const { properties = {}, required = [] } = z.toJSONSchema(query, { io: 'input', unrepresentable: 'any' });
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query' as const,
    required: required.includes(name),
    schema: schema as Json,
  }));
}

/** `GET /api/accounts/{id}` as `get_api_accounts_id`. */
function operationId({ method, path }: ApiRoute): string {
  return `${method.toLowerCase()}${path.replace(/[^A-Za-z0-9]+/g, '_')}`.replace(/_$/, '');
}
