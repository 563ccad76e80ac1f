/**
 * The one way from a page to the hub. Every call answers with a result and none throws: a page
 * must be able to say what happened, what was kept and what to do, whatever the network did.
 */
import type {
  Alarm,
  AlarmDetail,
  Alarms,
  Claim,
  CloseReason,
  CountyMap,
  Device,
  DeviceChange,
  Devices,
  Fault,
  Faults,
  Language,
  Me,
  NewSite,
  OrderKeys,
  OrderKeysWithdrawn,
  Problem,
  Regions,
  Site,
  SiteChange,
  Sites,
} from './types';
import type {
  AlarmVideo,
  Camera,
  CameraChange,
  Cameras,
  CameraTrial,
  CameraTried,
  Export,
  NewCamera,
  NewExport,
  Quality,
  Recordings,
  Span,
} from './video';
import type {
  EnteredSpeaker,
  NewNotice,
  NewSpeaker,
  NewTemplate,
  Notice,
  NoticeDetail,
  NoticeLevel,
  Notices,
  ReachInWords,
  Sound,
  Speaker,
  SpeakerChange,
  Speakers,
  Target,
  Template,
  Templates,
} from './voice';

export type Result<T> = { ok: true; value: T } | { ok: false; problem: Problem };

/** How long a request may take before the page says that the hub does not answer. */
export const REQUEST_TIMEOUT_MS = 15_000;
/** What is asked of a village has its own journey: a gateway may try a camera for fifteen seconds. */
const VILLAGE_TIMEOUT_MS = 25_000;
/** Ten minutes of voice are 19 MB, and a village's telephone sends some 400 kbit/s. */
const UPLOAD_TIMEOUT_MS = 600_000;
/** A long text takes the hub's voice its time. */
const SPEECH_TIMEOUT_MS = 60_000;
/** Closed alarms read at once. */
const CLOSED_PER_PAGE = 50;

/** The code of a problem that the page made itself because no answer came. */
export const UNREACHABLE = 'page.unreachable';
/** The code of a problem for an answer that is no JSON the page can read. */
export const UNREADABLE = 'page.unreadable';

export interface ApiOptions {
  /** Asked at each call, so that errors come in the language shown now. */
  language: () => Language;
  /** Called when the hub no longer knows this session (but not for a refused log-in). */
  signed_out: () => void;
  fetch?: typeof globalThis.fetch;
}

export type Api = ReturnType<typeof createApi>;

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

export function createApi(options: ApiOptions) {
  const fetch = options.fetch ?? globalThis.fetch.bind(globalThis);

  async function call<T>(
    method: Method,
    path: string,
    body?: unknown,
    { log_in = false, timeout_ms = REQUEST_TIMEOUT_MS } = {},
  ): Promise<Result<T>> {
    const headers: Record<string, string> = {
      Accept: 'application/json, application/problem+json',
      'Accept-Language': options.language(),
    };
    const is_sound = body instanceof Blob;
    if (body !== undefined) headers['Content-Type'] = is_sound ? body.type : 'application/json';
    let response: Response;
    let text: string;
    try {
      response = await fetch(`/api/v1${path}`, {
        method,
        headers,
        credentials: 'same-origin',
        cache: 'no-store',
        signal: AbortSignal.timeout(timeout_ms),
        ...(body === undefined ? {} : { body: is_sound ? body : JSON.stringify(body) }),
      });
      text = await response.text();
    } catch {
      return refused({ title: '', status: 0, code: UNREACHABLE });
    }
    if (response.status === 401 && !log_in) options.signed_out();
    return read<T>(response, text);
  }

  const get = <T>(path: string) => call<T>('GET', path);
  const ask = <T>(path: string) => call<T>('GET', path, undefined, { timeout_ms: VILLAGE_TIMEOUT_MS });
  const post = <T>(path: string, body: unknown) => call<T>('POST', path, body);

  return {
    logIn: (username: string, password: string) => call<Me>('POST', '/session', { username, password }, { log_in: true }),
    me: () => call<Me>('GET', '/session', undefined, { log_in: true }),
    logOut: () => call<null>('DELETE', '/session', undefined, { log_in: true }),

    map: () => get<CountyMap>('/map'),
    regions: (parent?: string) => get<Regions>(`/regions${query({ parent })}`),

    sites: () => get<Sites>('/sites'),
    createSite: (site: NewSite) => post<Site>('/sites', site),
    changeSite: (id: string, change: SiteChange) => call<Site>('PATCH', `/sites/${encodeURIComponent(id)}`, change),
    createClaim: (siteId: string) => post<Claim>(`/sites/${encodeURIComponent(siteId)}/claims`, {}),
    revoke: (siteId: string, reason: string) =>
      post<null>(`/sites/${encodeURIComponent(siteId)}/revoke`, { reason }),

    orderKeys: () => get<OrderKeys>('/order-keys'),
    /** Ends the key of this name and the other one of its region. */
    withdrawOrderKeys: (issuer: string, reason: string) =>
      post<OrderKeysWithdrawn>(`/order-keys/${encodeURIComponent(issuer)}/withdraw`, { reason }),

    devices: (siteId: string) => get<Devices>(`/devices${query({ site_id: siteId })}`),
    changeDevice: (id: string, change: DeviceChange) =>
      call<Device>('PATCH', `/devices/${encodeURIComponent(id)}`, change),

    /** All that are open; the list is always complete. */
    openAlarms: () => get<Alarms>('/alarms?state=open'),
    /** A page of closed ones, the newest first; `after` is the page before's `next`. */
    closedAlarms: (after?: string) =>
      get<Alarms>(`/alarms${query({ state: 'closed', after, limit: String(CLOSED_PER_PAGE) })}`),
    alarm: (id: string) => get<AlarmDetail>(`/alarms/${encodeURIComponent(id)}`),
    acknowledge: (id: string) => post<Alarm>(`/alarms/${encodeURIComponent(id)}/acknowledge`, {}),
    close: (id: string, reason: CloseReason, note?: string) =>
      post<Alarm>(`/alarms/${encodeURIComponent(id)}/close`, note ? { reason, note } : { reason }),
    /** This person sets out, and has come: said of oneself only. */
    going: (id: string) => post<Alarm>(`/alarms/${encodeURIComponent(id)}/going`, {}),
    arrived: (id: string) => post<Alarm>(`/alarms/${encodeURIComponent(id)}/arrived`, {}),

    cameras: (siteId?: string) => get<Cameras>(`/cameras${query({ site_id: siteId })}`),
    tryCamera: (trial: CameraTrial) =>
      call<CameraTried>('POST', '/cameras/try', trial, { timeout_ms: VILLAGE_TIMEOUT_MS }),
    createCamera: (camera: NewCamera) => post<Camera>('/cameras', camera),
    changeCamera: (id: string, change: CameraChange) => call<Camera>('PATCH', cameraPath(id), change),
    deleteCamera: (id: string) => call<null>('DELETE', cameraPath(id)),
    alarmVideo: (id: string) => get<AlarmVideo>(`/alarms/${encodeURIComponent(id)}/video`),
    recordings: (id: string, span: Span) => ask<Recordings>(`${cameraPath(id)}/recordings${query(numbers(span))}`),
    createExport: (id: string, wanted: NewExport) => post<Export>(`${cameraPath(id)}/exports`, wanted),
    export: (id: string) => get<Export>(`/exports/${encodeURIComponent(id)}`),
    cancelExport: (id: string) => call<null>('DELETE', `/exports/${encodeURIComponent(id)}`),

    speakers: (siteId?: string) => get<Speakers>(`/speakers${query({ site_id: siteId })}`),
    createSpeaker: (speaker: NewSpeaker) => post<EnteredSpeaker>('/speakers', speaker),
    changeSpeaker: (id: string, change: SpeakerChange) => call<Speaker>('PATCH', speakerPath(id), change),
    deleteSpeaker: (id: string) => call<null>('DELETE', speakerPath(id)),
    /** The answer is a notice like others: what becomes of the tone is told of it. */
    testSpeaker: (id: string) => post<Notice>(`${speakerPath(id)}/test`, {}),

    /** A recording as WAV; the hub levels it. */
    sendSound: (wav: Blob) => call<Sound>('POST', '/sounds', wav, { timeout_ms: UPLOAD_TIMEOUT_MS }),
    speak: (text: string) => call<Sound>('POST', '/sounds/speech', { text }, { timeout_ms: SPEECH_TIMEOUT_MS }),
    /** A page of notices, the newest first; `after` is the page before's `next`. */
    notices: (after?: string, level?: NoticeLevel) => get<Notices>(`/notices${query({ after, level })}`),
    notice: (id: string) => get<NoticeDetail>(noticePath(id)),
    reach: (target: Target) => post<ReachInWords>('/notices/reach', target),
    sendNotice: (notice: NewNotice) => post<Notice>('/notices', notice),
    confirmNotice: (id: string) => post<Notice>(`${noticePath(id)}/confirm`, {}),
    refuseNotice: (id: string, reason: string) => post<Notice>(`${noticePath(id)}/refuse`, { reason }),
    stopNotice: (id: string) => post<Notice>(`${noticePath(id)}/stop`, {}),
    templates: () => get<Templates>('/templates'),
    createTemplate: (template: NewTemplate) => post<Template>('/templates', template),
    deleteTemplate: (id: string) => call<null>('DELETE', `/templates/${encodeURIComponent(id)}`),

    faults: () => get<Faults>('/faults?state=open'),
    clearFault: (id: string, note: string) => post<Fault>(`/faults/${encodeURIComponent(id)}/clear`, { note }),
  };
}

/** Where a browser finds what is no JSON: pictures, films, and the sockets of live pictures. */
export const paths = {
  live: (id: string, quality: Quality) => `/api/v1${cameraPath(id)}/live?quality=${quality}`,
  playback: (id: string) => `/api/v1${cameraPath(id)}/playback`,
  evidence: (id: string) => `/api/v1/evidence/${encodeURIComponent(id)}/file`,
  export: (id: string) => `/api/v1/exports/${encodeURIComponent(id)}/file`,
  sound: (sha256: string) => `/api/v1/sounds/${encodeURIComponent(sha256)}`,
};

function cameraPath(id: string): string {
  return `/cameras/${encodeURIComponent(id)}`;
}

function speakerPath(id: string): string {
  return `/speakers/${encodeURIComponent(id)}`;
}

function noticePath(id: string): string {
  return `/notices/${encodeURIComponent(id)}`;
}

function numbers({ from_ms, to_ms }: Span): Record<string, string> {
  return { from_ms: String(Math.round(from_ms)), to_ms: String(Math.round(to_ms)) };
}

/** A query string without the parameters that are absent. */
export function query(parameters: Record<string, string | undefined>): string {
  const given = Object.entries(parameters).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return given.length === 0 ? '' : `?${new URLSearchParams(given)}`;
}

function read<T>(response: Response, text: string): Result<T> {
  let body: unknown = null;
  if (text !== '') {
    try {
      body = JSON.parse(text);
    } catch {
      return refused({ title: '', status: response.status, code: UNREADABLE });
    }
  }
  if (response.ok) return { ok: true, value: body as T };
  const problem = (typeof body === 'object' && body !== null ? body : {}) as Partial<Problem>;
  return refused({
    title: problem.title ?? '',
    status: response.status,
    detail: problem.detail ?? null,
    code: problem.code ?? UNREADABLE,
  });
}

function refused(problem: Problem): { ok: false; problem: Problem } {
  return { ok: false, problem };
}

/** A list's answer with its things under one name, whatever the hub calls them. */
export function listed<K extends string, T>(
  result: Result<{ sequence: number } & Record<K, T[]>>,
  key: K,
): Result<{ sequence: number; list: T[] }> {
  if (!result.ok) return result;
  return { ok: true, value: { sequence: result.value.sequence, list: result.value[key] } };
}
