import { describe, expect, it, vi } from 'vitest';
import { createApi, query, UNREACHABLE, UNREADABLE } from './client';

function api(answer: Response | Error) {
  const fetch = vi.fn<typeof globalThis.fetch>(() => (answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)));
  const signed_out = vi.fn();
  return { fetch, signed_out, api: createApi({ language: () => 'en', signed_out, fetch }) };
}

const problem = (status: number) =>
  new Response(JSON.stringify({ title: 'No', status, detail: 'because', code: 'x.y' }), { status });

describe('the api client', () => {
  it('answers with the value, and asks in the language shown', async () => {
    const { api: client, fetch } = api(new Response('{"sequence":3,"sites":[]}'));
    expect(await client.sites()).toEqual({ ok: true, value: { sequence: 3, sites: [] } });
    const [url, request] = fetch.mock.calls[0] ?? [];
    expect(url).toBe('/api/v1/sites');
    expect(request?.headers).toMatchObject({ 'Accept-Language': 'en' });
  });

  it('answers with the hub\'s problem', async () => {
    const result = await api(problem(409)).api.acknowledge('a1');
    expect(result).toEqual({ ok: false, problem: { title: 'No', status: 409, detail: 'because', code: 'x.y' } });
  });

  it('never throws: no network, no sense, no body', async () => {
    expect(await api(new TypeError('offline')).api.sites()).toMatchObject({ problem: { code: UNREACHABLE, status: 0 } });
    expect(await api(new Response('<html>')).api.sites()).toMatchObject({ problem: { code: UNREADABLE } });
    expect(await api(new Response('', { status: 502 })).api.sites()).toMatchObject({ ok: false, problem: { status: 502 } });
    expect(await api(new Response(null, { status: 204 })).api.revoke('s1', 'lost')).toEqual({ ok: true, value: null });
  });

  it('tells of a session that ended, but not of a refused log-in', async () => {
    const ended = api(problem(401));
    await ended.api.sites();
    expect(ended.signed_out).toHaveBeenCalledOnce();
    const refused = api(problem(401));
    await refused.api.logIn('li', 'wrong');
    expect(refused.signed_out).not.toHaveBeenCalled();
  });

  it('puts ids into addresses safely', async () => {
    const { api: client, fetch } = api(new Response('{}'));
    await client.alarm('a/../b');
    expect(fetch.mock.calls[0]?.[0]).toBe('/api/v1/alarms/a%2F..%2Fb');
    expect(query({ a: 'x y', b: undefined })).toBe('?a=x+y');
  });
});
