/**
 * A small MCP server over stdin and stdout with more tools than an agent shows its model at once, so that it lets the
 * model search for them. One of them reads a note.
 */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { z } from 'zod';

const message = z.object({
  id: z.union([z.string(), z.number()]).optional(),
  method: z.string(),
  params: z
    .object({
      name: z.string().optional(),
      arguments: z.object({ path: z.string() }).partial().optional(),
      protocolVersion: z.string().optional(),
    })
    .optional(),
});

const inputSchema = { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] };
const others = Array.from({ length: 120 }, (_, index) => ({
  name: `catalogue_${index}`,
  description: `Lists the records of shelf ${index}.`,
  inputSchema,
}));
const tools = [...others, { name: 'read_note', description: 'Reads a note.', inputSchema }];

function answer(method: string, params: z.infer<typeof message>['params']): unknown {
  switch (method) {
    case 'initialize':
      return {
        protocolVersion: params?.protocolVersion,
        capabilities: { tools: {} },
        serverInfo: { name: 'archive', version: '1' },
      };
    case 'tools/list':
      return { tools };
    case 'tools/call':
      return { content: [{ type: 'text', text: readFileSync(params?.arguments?.path ?? '', 'utf8') }] };
    default:
      return {};
  }
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = message.parse(JSON.parse(line));
  if (id === undefined) return;
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result: answer(method, params) })}\n`);
});
