// The models GetFeatureModelChoices offers.
import { scenarios } from './scenarios.ts';

/** A model as a test may set it; everything but the id has a default. */
export interface SandboxModel {
  id: string;
  displayName?: string;
  description?: string;
  /** What models of several efforts have in common; by default the display name. */
  baseModelName?: string;
  reasoningLevel?: string;
  creditMultiplier?: number;
  provider?: 'OPENAI' | 'ANTHROPIC' | 'GOOGLE' | 'XAI' | 'UNKNOWN';
  /** Tokens. */
  contextWindow?: number;
  visionSupported?: boolean;
  disableReason?: 'ADMIN_DISABLED' | 'OUT_OF_REQUESTS' | 'PROVIDER_OUTAGE' | 'REQUIRES_UPGRADE';
}

export const defaultModels: readonly SandboxModel[] = [
  { id: 'auto', displayName: 'auto' },
  { id: 'claude-4-sonnet', displayName: 'Claude 4 Sonnet', provider: 'ANTHROPIC' },
  { id: 'gpt-5', displayName: 'GPT-5', provider: 'OPENAI', contextWindow: 400_000 },
  { id: 'gemini-2.5-pro', displayName: 'Gemini 2.5 Pro', provider: 'GOOGLE', contextWindow: 1_000_000 },
  ...scenarios.map(({ model }) => ({ id: model })),
];

/** An LlmInfo with all its fields. */
export function llmInfo(model: SandboxModel): Record<string, unknown> {
  const {
    id,
    displayName = id,
    provider = 'UNKNOWN',
    contextWindow = 200_000,
    visionSupported = true,
  } = model;
  return {
    id,
    displayName,
    baseModelName: model.baseModelName ?? displayName,
    reasoningLevel: model.reasoningLevel ?? null,
    description: model.description ?? null,
    disableReason: model.disableReason ?? null,
    visionSupported,
    provider,
    usageMetadata: { creditMultiplier: model.creditMultiplier ?? 1, requestMultiplier: 1 },
    spec: { cost: 0.5, quality: 0.5, speed: 0.5 },
    hostConfigs: [],
    pricing: { discountPercentage: null },
    contextWindow: { isConfigurable: false, min: contextWindow, max: contextWindow, default: contextWindow },
  };
}
