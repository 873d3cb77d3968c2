import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
/** Node's own http. Importing it by name would also load Node's fetch and WebSocket, which takes 70 ms and 7 MiB. */
export const { Agent: HttpAgent, request: httpRequest } = require('node:http') as typeof import('node:http');
