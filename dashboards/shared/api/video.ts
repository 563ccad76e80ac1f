/** What the hub says of cameras, of what they saw, and of what was taken out of a village's recordings. */

import type { Answer, Schemas } from './types';

export type CameraKind = Schemas['CameraKind'];
export type RecordPolicy = Schemas['RecordPolicy'];
export type Quality = 'main' | 'sub';

/** One stream of a camera, as it was last seen. */
export type Stream = Answer<'StreamView'>;
export type Camera = Answer<'CameraView'>;
export type Cameras = Answer<'CameraPage'>;
export type NewCamera = Schemas['CameraCreate'];
/** What of a camera a person may set; an empty text and a direction of −1 take away what was there. */
export type CameraChange = Schemas['CameraPatch'];

export interface CameraTrial {
  site_id: string;
  url: string;
  username?: string;
  password?: string;
}

export interface CameraTried {
  ok: boolean;
  reason: string;
  detail: string | null;
  tries_left: number | null;
  main: (Stream & { frames_per_s?: number | null }) | null;
  snapshot_url: string | null;
}

/** What a camera saw of a press: `snapshot` or `clip`; `awaited`, `saved` in the village, `ready` at the hub, `missing` or `expired`. */
export type Evidence = Answer<'EvidenceView'>;
export type AlarmVideo = Answer<'AlarmVideo'>;

export interface Span {
  from_ms: number;
  to_ms: number;
}

export interface Recordings {
  spans: Span[];
  /** The camera's or gateway's state where it could not be asked. */
  state: string | null;
}

export type NewExport = Schemas['ExportCreate'];
/** `running`, `ready`, `failed`, `cancelled` or `expired`: its file is kept no longer. */
export type Export = Answer<'ExportView'>;
