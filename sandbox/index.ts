export type { Availability, Credits } from './accounts.ts';
export type { SandboxModel } from './models.ts';
export type { SandboxRun } from './oz.ts';
export { ozScenarios } from './oz-scenarios.ts';
export { keyScenarios, type Scenario, scenarios } from './scenarios.ts';
export { type Sandbox, type SandboxOptions, startSandbox } from './server.ts';
export type { Fault, FaultKind } from './token-faults.ts';
export type { SandboxTokens, TokenStats } from './token-server.ts';
export type { SandboxCounts, SandboxOperation, SandboxTurn } from './turn-log.ts';
