/** What the hub says of loudspeakers, of what was said through them, and of what waits to be said. */

import type { Answer, Schemas } from './types';

export type SpeakerKind = Schemas['SpeakerKind'];
export type NoticeLevel = Schemas['Level'];
export type NoticeState = Schemas['NoticeState'];
/** How far one loudspeaker is with one notice; the hub gives it as text and may come to know more. */
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

export type Speaker = Answer<'SpeakerView'>;
export type Speakers = Answer<'SpeakerPage'>;
/** The hub's answer to a new one: with the key, once, if the hub drew it. */
export type EnteredSpeaker = Answer<'NewSpeaker'>;
export type NewSpeaker = Schemas['SpeakerCreate'];
export type SpeakerChange = Schemas['SpeakerPatch'];

/** A sound that the hub has, levelled and ready for loudspeakers. */
export type Sound = Answer<'SoundView'>;

/** Whom a notice goes to. */
export interface Target {
  region_code: string;
  /** `null`: all that are there. */
  speaker_ids: string[] | null;
}
export type ReachInWords = Answer<'ReachTold'>;

/** With its own name, drawn once: however often it is sent, it is one notice. */
export type NewNotice = Schemas['NoticeCreate'] & { client_id: string };
export type Notice = Answer<'NoticeView'>;
export type Notices = Answer<'NoticePage'>;
/** What one loudspeaker did with a notice, by its own report. */
export type Play = Answer<'NoticeSpeakerView'>;
export type NoticeDetail = Answer<'NoticeDetail'>;

export type Template = Answer<'TemplateView'>;
export type Templates = Answer<'TemplatePage'>;
export type NewTemplate = Schemas['TemplateCreate'];
