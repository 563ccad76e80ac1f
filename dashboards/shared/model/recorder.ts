/** A recorder as technicians see it: what is wrong with the box itself, said once and not of each of its cameras. */
import type { Fault } from '../api/types';
import type { Camera } from '../api/video';
import { stateName } from './camera';

/** What can be the recorder's own. Which it is the hub judges: it is the recorder's fault. */
export type RecorderStateName = 'unreachable' | 'refused' | 'clock_off';
const NAMES: readonly RecorderStateName[] = ['unreachable', 'refused', 'clock_off'];

export interface RecorderState {
  name: RecorderStateName;
  /** UTC milliseconds. */
  since_ms: number;
  detail: string;
}

export interface Recorder {
  id: string;
  /** Host, and port if it is not the usual one. */
  address: string;
  /** In the order in which they were given. */
  cameras: Camera[];
  /** `null`: nothing is known to be wrong with the recorder itself. */
  state: RecorderState | null;
}

/** The recorders behind cameras, in the order of their first camera, with what their open faults say. */
export function recordersOf(cameras: readonly Camera[], faults: readonly Fault[]): Recorder[] {
  const channels = new Map<string, Camera[]>();
  for (const camera of cameras) {
    const known = channels.get(camera.recorder_id);
    if (known === undefined) channels.set(camera.recorder_id, [camera]);
    else known.push(camera);
  }
  return [...channels].map(([id, of]) => ({ id, address: addressOf(of[0]?.url ?? ''), cameras: of, state: stateOf(id, of, faults) }));
}

/** Whether what is wrong with a camera is what its recorder says already. */
export function saysRecorder(recorder: Recorder, camera: Camera): boolean {
  return recorder.state !== null && stateName(camera.state.name) === recorder.state.name;
}

function stateOf(id: string, cameras: readonly Camera[], faults: readonly Fault[]): RecorderState | null {
  for (const name of NAMES) {
    const fault = faults.find(({ source, code }) => source === `recorder:${id}` && code === `recorder.${name}`);
    // While its gateway is off line nobody knows how it is, though the fault stands until the gateway says otherwise.
    const saying = cameras.find(({ state }) => stateName(state.name) === name);
    if (fault !== undefined && saying !== undefined) return { name, since_ms: fault.first_ms, detail: saying.state.detail };
  }
  return null;
}

/** Host, and port if it is not the usual one, of a stream’s address. */
export function addressOf(url: string): string {
  return /^rtsp:\/\/(?:[^@/]*@)?([^/?#]+)/i.exec(url)?.[1]?.replace(/:554$/, '').toLowerCase() ?? '';
}

/** What the gateway opens at a recorder, against what it gives. */
export interface Crowding {
  /** How many it gives at once. */
  sessions: number;
  /** How many stand open all the time: one of each camera. */
  standing: number;
}

/** Of a camera as entered, what decides about its sessions. */
export type Taking = Pick<Camera, 'kind' | 'consent_ms' | 'sub_url'>;

/**
 * Whether a recorder gives too few streams. One of each camera stands open, recorded or not, because an alarm needs the half
 * minute before it; whoever looks at another one of its streams needs one more. `null`: there is room.
 */
export function crowdingOf(cameras: readonly Taking[], sessions: number): Crowding | null {
  // A household that does not consent has a camera of which the gateway does not even know.
  const told = cameras.filter(({ kind, consent_ms }) => kind !== 'home' || consent_ms !== null);
  const standing = told.length;
  const most = told.some(({ sub_url }) => sub_url !== null) ? standing + 1 : standing;
  return most > sessions ? { sessions, standing } : null;
}
