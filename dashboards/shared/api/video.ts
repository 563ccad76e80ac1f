/** What the hub says of cameras, of what they saw, and of what was taken out of a village's recordings. */

export type CameraKind = 'public' | 'facility' | 'home';
export type RecordPolicy = 'off' | 'main' | 'sub';
export type Quality = 'main' | 'sub';

/** One stream of a camera, as it was last seen. */
export interface Stream {
  /** `h264`, `h265`, or what the camera calls it. */
  codec: string;
  width: number;
  height: number;
}

export interface CameraState {
  /** `ok`, `starting`, `unreachable`…, see `model/camera`; empty before the gateway has spoken of it. */
  name: string;
  since_ms: number;
  detail: string;
}

export interface Camera {
  id: string;
  site_id: string;
  site_name: string;
  region_code: string;
  recorder_id: string;
  name: string;
  kind: CameraKind;
  place: string | null;
  latitude: number | null;
  longitude: number | null;
  /** Where it looks, from north. */
  direction_degrees: number | null;
  /** Without credentials; those are sealed and never shown again. */
  url: string;
  sub_url: string | null;
  has_credentials: boolean;
  record: RecordPolicy;
  days_max: number;
  bytes_max: number;
  household_device_ids: string[];
  /** When the household agreed; `null`: it has not, or has taken it back. */
  consent_ms: number | null;
  state: CameraState;
  main: Stream | null;
  sub: Stream | null;
  last_frame_ms: number | null;
  recorded_from_ms: number | null;
  revision: number;
  /** True in the hub's last word of a camera that was deleted. */
  deleted: boolean;
}

export interface Cameras {
  sequence: number;
  cameras: Camera[];
}

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

/** What of a camera a person may set. */
export interface CameraChange {
  name?: string;
  url?: string;
  sub_url?: string | null;
  username?: string;
  password?: string;
  kind?: CameraKind;
  place?: string | null;
  latitude?: number | null;
  longitude?: number | null;
  direction_degrees?: number | null;
  record?: RecordPolicy;
  days_max?: number;
  bytes_max?: number;
  household_device_ids?: string[];
  consent?: boolean;
}
export type NewCamera = CameraChange & { site_id: string; name: string; url: string };

export type EvidenceState = 'awaited' | 'saved' | 'ready' | 'missing';

export interface Evidence {
  id: string;
  alarm_id: string;
  press_id: string;
  camera_id: string;
  camera_name: string;
  kind: 'snapshot' | 'clip';
  state: EvidenceState;
  reason: string | null;
  from_ms: number | null;
  to_ms: number | null;
  bytes: number | null;
  sha256: string | null;
  received_ms: number | null;
}

export interface AlarmVideo {
  sequence: number;
  cameras: Camera[];
  evidence: Evidence[];
}

export interface Span {
  from_ms: number;
  to_ms: number;
}

export interface Recordings {
  spans: Span[];
  /** The camera's or gateway's state where it could not be asked. */
  state: string | null;
}

export interface NewExport extends Span {
  reason: string;
  quality?: Quality;
}

export interface Export extends Span {
  id: string;
  camera_id: string;
  state: 'running' | 'ready' | 'failed' | 'cancelled';
  progress_percent: number;
  bytes: number | null;
  sha256: string | null;
  reason: string;
  requested_by: string;
  failure: string | null;
}
