export type { Credits } from './accounts.ts';
export type { SandboxModel } from './models.ts';
export { keyScenarios, type Scenario, scenarios } from './scenarios.ts';
export { type Sandbox, type SandboxOptions, startSandbox } from './server.ts';
export type { SandboxCounts, SandboxOperation, SandboxTurn } from './turn-log.ts';
