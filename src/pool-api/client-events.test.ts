import type { ServerResponse } from 'node:http';
import { describe, expect, it, vi } from 'vitest';
import { AccountPoolClient, type PoolNews } from './client.ts';
import { type FakeAnswer, failed, startFakePool } from './pool.fake.ts';
import type { PoolEvent } from './schema.ts';

const removed = (id: string): PoolEvent => ({ type: 'account-removed', account_id: id, provider: 'warp' });

function stream(...events: readonly PoolEvent[]) {
  return (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    events.forEach((event, index) => {
      response.write(`id: ${index + 1}\ndata: ${JSON.stringify(event)}\n\n`);
    });
  };
}

async function setUp(answer: (index: number) => FakeAnswer) {
  const pool = await startFakePool((_call, index) => answer(index));
  const client = new AccountPoolClient({ baseUrl: pool.url, retries: 0 });
  return {
    pool,
    client,
    async [Symbol.asyncDispose]() {
      await client.close();
      await pool[Symbol.asyncDispose]();
    },
  };
}

describe('events', () => {
  it('come to a loop, which ends the connection when it ends', async () => {
    let isClosed = false;
    await using running = await setUp(() => (response: ServerResponse) => {
      response.on('close', () => {
        isClosed = true;
      });
      stream(removed('a'), removed('b'), removed('c'))(response);
    });
    const heard: PoolNews[] = [];
    for await (const news of running.client.events()) {
      heard.push(news);
      if (heard.length === 2) break;
    }
    expect(heard).toEqual([removed('a'), removed('b')]);
    await vi.waitFor(() => expect(isClosed).toBe(true));
  });

  it('go on after something that is no pool has named an event by what no header can carry', async () => {
    await using running = await setUp((index) => (response: ServerResponse) => {
      if (index > 0) return stream(removed('b'))(response);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(`id: \u0001é${'x'.repeat(100_000)}\ndata: ${JSON.stringify(removed('a'))}\n\n`);
    });
    const heard: PoolNews[] = [];
    for await (const news of running.client.events()) {
      heard.push(news);
      if (heard.length === 2) break;
    }
    expect(heard).toEqual([removed('a'), removed('b')]);
  });

  it('make no connection before the loop begins', async () => {
    await using running = await setUp(() => stream());
    running.client.events();
    await new Promise((resolve) => setImmediate(resolve));
    expect(running.pool.calls).toHaveLength(0);
  });

  it('end without an error with the signal, and with the client', async () => {
    await using running = await setUp(() => stream(removed('a')));
    const controller = new AbortController();
    const listen = async (signal?: AbortSignal) => {
      const heard: PoolNews[] = [];
      for await (const news of running.client.events(signal ? { signal } : {})) heard.push(news);
      return heard;
    };
    const first = listen(controller.signal);
    const second = listen();
    await vi.waitFor(() => expect(running.pool.calls).toHaveLength(2));
    controller.abort();
    await first;
    await running.client.close();
    await second;
  });

  it('go on from the last one after the connection broke', async () => {
    let breakOff = (): void => {};
    await using running = await setUp((index) => (response: ServerResponse) => {
      stream(removed(`account-${index}`))(response);
      breakOff = () => void response.socket?.resetAndDestroy();
    });
    const states: boolean[] = [];
    const heard: string[] = [];
    for await (const news of running.client.events({ onState: (isOn) => states.push(isOn) })) {
      heard.push(news.type === 'account-removed' ? news.account_id : news.type);
      if (heard.length === 2) break;
      breakOff();
    }
    expect(heard).toEqual(['account-0', 'account-1']);
    expect(running.pool.calls[1]?.headers['last-event-id']).toBe('1');
    expect(states.slice(0, 3)).toEqual([true, false, true]);
  });

  it('say reset when the pool cannot send what was missed', async () => {
    await using running = await setUp(() => (response: ServerResponse) => {
      stream()(response);
      response.write('event: reset\nid: 90\ndata: {}\n\n');
    });
    for await (const news of running.client.events()) {
      expect(news).toEqual({ type: 'reset' });
      break;
    }
  });

  it('throw when the pool refuses the key, instead of asking for ever', async () => {
    await using running = await setUp(() => failed(401, 'invalid_key'));
    await expect(running.client.events().next()).rejects.toMatchObject({ code: 'invalid_key' });
    expect(running.pool.calls).toHaveLength(1);
  });

  it('leave the pool to wait while the loop is slow, and lose nothing', async () => {
    const count = 20_000;
    const long = 'x'.repeat(1_000);
    let written = 0;
    await using running = await setUp(() => (response: ServerResponse) => {
      stream()(response);
      const write = () => {
        while (written < count) {
          written += 1;
          if (!response.write(`id: ${written}\ndata: ${JSON.stringify(removed(`${long}-${written}`))}\n\n`)) {
            response.once('drain', write);
            return;
          }
        }
      };
      write();
    });
    let heard = 0;
    for await (const news of running.client.events()) {
      heard += 1;
      if (news.type !== 'account-removed' || news.account_id !== `${long}-${heard}`)
        throw new Error('lost one');
      if (heard === 1) {
        // Until nothing moves any more: what is on the way is bounded by sockets and one read.
        for (let quiet = 0, before = -1; quiet < 10; before = written) {
          await new Promise((resolve) => setTimeout(resolve, 50));
          quiet = before === written ? quiet + 1 : 0;
        }
        expect(written).toBeLessThan(count);
      }
      if (heard === count) break;
    }
    expect(heard).toBe(count);
  });

  it('come to a listener until the signal aborts; what the listener throws is not lost', async () => {
    await using running = await setUp(() => stream(removed('a')));
    const controller = new AbortController();
    const heard: PoolNews[] = [];
    const listening = running.client.listen((news) => void heard.push(news), { signal: controller.signal });
    await vi.waitFor(() => expect(heard).toHaveLength(1));
    controller.abort();
    await listening;
    const failing = running.client.listen(() => {
      throw new Error('the listener failed');
    });
    await expect(failing).rejects.toThrow('the listener failed');
  });
});
