/** What the hub says of loudspeakers, of what was said through them, and of what waits to be said. */

export type SpeakerKind = 'mqtt' | 'line_out';
export type NoticeLevel = 'notice' | 'emergency';
export type NoticeState = 'waiting_for_second' | 'sent' | 'playing' | 'done' | 'stopped' | 'refused';
/** How far one loudspeaker is with one notice; it may come to know more. */
export type PlayState =
  | 'waiting'
  | 'fetching'
  | 'playing'
  | 'played'
  | 'interrupted'
  | 'failed'
  | 'refused'
  | 'expired'
  | 'stopped';

export interface Speaker {
  id: string;
  site_id: string;
  site_name: string;
  region_code: string;
  name: string;
  kind: SpeakerKind;
  place: string | null;
  latitude: number | null;
  longitude: number | null;
  /** Never louder than this. */
  volume_percent: number;
  /** `null`: not heard of since it was entered. */
  online: boolean | null;
  last_heard_ms: number | null;
  playing: boolean;
  /** `ok`, `silent`, `refused`, `failed`; the hub may know more. */
  state: string;
  since_ms: number;
  revision: number;
  deleted: boolean;
  /** Told once, when the hub drew it: it goes into the loudspeaker and is not shown again. */
  key?: string | null;
}

export interface NewSpeaker {
  site_id: string;
  name: string;
  kind: SpeakerKind;
  key?: string;
  device?: string;
  place?: string;
  volume_percent?: number;
}
export type SpeakerChange = Partial<Pick<NewSpeaker, 'name' | 'place' | 'volume_percent'>>;

/** A sound that the hub has, levelled and ready for loudspeakers. */
export interface Sound {
  sha256: string;
  duration_ms: number;
  bytes: number;
}
export interface SpokenSound extends Sound {
  /** The text as it is spoken: figures, times and telephone numbers written out. */
  spoken_text: string;
}

/** Whom a notice goes to. */
export interface Target {
  region_code: string;
  /** `null`: all that are there. */
  speaker_ids: string[] | null;
}

export interface Reach {
  villages: number;
  sites: number;
  speakers: number;
  online: number;
}
export type ReachInWords = Reach & { words: string };

export interface NewNotice extends Target {
  /** Drawn once for each notice: however often it is sent, it is one notice. */
  client_id: string;
  sound_sha256: string;
  text?: string;
  title?: string;
  times: number;
  gap_ms: number;
  level: NoticeLevel;
  /** How long a loudspeaker that comes back may still play it. */
  valid_for_s: number;
  confirm_night?: boolean;
}

export interface Notice {
  id: string;
  title: string | null;
  text: string | null;
  region_code: string;
  region_name: string;
  level: NoticeLevel;
  author: string;
  author_username: string;
  created_ms: number;
  state: NoticeState;
  sound_sha256: string;
  duration_ms: number;
  times: number;
  gap_ms: number;
  /** `null`: it was not ordered. */
  valid_until_ms: number | null;
  second: { needed: boolean; by: string | null; at_ms: number | null };
  reach: Reach;
  played: { played: number; playing: number; waiting: number; failed: number; refused: number };
  stopped_by: string | null;
  stopped_ms: number | null;
  revision: number;
}

/** What one loudspeaker did with a notice, by its own report. */
export interface Play {
  speaker_id: string;
  name: string;
  site_name: string;
  state: PlayState;
  played_ms: number | null;
  times: number | null;
  reason: string | null;
  at_ms: number | null;
}
export type NoticeDetail = Notice & { speakers: Play[] };

export interface Template {
  id: string;
  region_code: string;
  title: string;
  /** `null` where it is a voice. */
  text: string | null;
  sound_sha256: string | null;
  duration_ms: number | null;
  author: string;
  created_ms: number;
}
export interface NewTemplate {
  region_code: string;
  title: string;
  text?: string;
  sound_sha256?: string;
}

export interface Speakers {
  sequence: number;
  speakers: Speaker[];
}
export interface Notices {
  sequence: number;
  notices: Notice[];
  next: string | null;
}
export interface Templates {
  sequence: number;
  templates: Template[];
}
