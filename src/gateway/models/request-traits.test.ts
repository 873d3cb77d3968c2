import { describe, expect, it } from 'vitest';
import { traitsOf } from './configured-plans.ts';

const picture = 'A'.repeat(40_000);
const relayed = (body: unknown) => traitsOf(JSON.stringify(body));

describe('what a request is judged by', () => {
  it.each([
    ['chat', { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: picture } }] }] }],
    ['messages', { messages: [{ role: 'user', content: [{ type: 'image', source: { data: picture } }] }] }],
    ['responses', { input: [{ role: 'user', content: [{ type: 'input_image', image_url: picture }] }] }],
    [
      'gemini',
      { contents: [{ role: 'user', parts: [{ inlineData: { mimeType: 'image/png', data: picture } }] }] },
    ],
  ])('an image of the dialect %s is seen, and its bytes are not taken for text', (_dialect, body) => {
    const { hasImages, hasTools, tokens } = relayed(body);
    expect([hasImages, hasTools]).toEqual([true, false]);
    expect(tokens).toBeGreaterThanOrEqual(1_000);
    expect(tokens).toBeLessThan(1_100);
  });

  it('the texts of tools count, and so do those of other scripts', () => {
    const tools = [{ name: 'x', description: 'd'.repeat(4_000) }];
    expect(relayed({ tools, messages: [] })).toMatchObject({ hasTools: true });
    expect(relayed({ tools, messages: [] }).tokens).toBeGreaterThan(1_000);
    expect(relayed({ tools: [] }).hasTools).toBe(false);
    expect(relayed({ input: '字'.repeat(1_000) }).tokens).toBeGreaterThan(700);
  });

  it('is the same for a request that was decoded', () => {
    const image = { type: 'image', mediaType: 'image/png', data: picture } as const;
    const request = { tools: [], messages: [{ role: 'user', parts: [image, { type: 'text', text: 'Hi' }] }] };
    expect(traitsOf(request as never)).toMatchObject({ hasImages: true, hasTools: false });
  });
});

describe('a conversation', () => {
  const first = {
    role: 'user',
    content: [{ type: 'text', text: 'Hello', cache_control: { type: 'ephemeral' } }],
  };

  it('is known by what was said before the first answer, however it is marked', () => {
    const begun = relayed({ messages: [{ role: 'system', content: 'Be brief' }, first] });
    const answer = { role: 'assistant', content: 'Hi' };
    const later = relayed({
      messages: [{ role: 'user', content: 'Hello' }, answer, { role: 'user', content: 'More' }],
    });
    expect([begun.isAnswered, later.isAnswered]).toEqual([false, true]);
    expect(later.opening).toBe(begun.opening);
    expect(relayed({ messages: [{ role: 'user', content: 'Bye' }] }).opening).not.toBe(begun.opening);
  });

  it.each([
    ['responses', { input: 'Hello' }, { input: [first, { role: 'assistant', content: 'Hi' }] }],
    [
      'gemini',
      { contents: [{ parts: [{ text: 'Hello' }] }] },
      {
        contents: [
          { role: 'user', parts: [{ text: 'Hello' }] },
          { role: 'model', parts: [{ text: 'Hi' }] },
        ],
      },
    ],
  ])('of the dialect %s may begin with a text alone', (_dialect, begun, later) => {
    expect(relayed(begun)).toMatchObject({ opening: relayed(later).opening, isAnswered: false });
    expect(relayed(begun).opening).toBeDefined();
    expect(relayed(later).isAnswered).toBe(true);
  });

  it('that begins without text is not known', () => {
    expect(
      relayed({ messages: [{ role: 'user', content: [{ type: 'image', source: {} }] }] }).opening,
    ).toBeUndefined();
    expect(traitsOf('not JSON').opening).toBeUndefined();
  });
});
