/** A recorder as technicians see it: what is wrong with the box itself, said once and not of each of its cameras. */
import type { Camera } from '../api/video';
import { mayShow, stateName } from './camera';

/** What a recorder can be in. Its clock is one for all channels; so is its password, which the gateway gives to none of them while
 * the recorder could lock everybody out. */
export type RecorderStateName = 'clock_off' | 'refused';

export interface RecorderState {
  name: RecorderStateName;
  /** Since when the first of its cameras has said so, UTC milliseconds. */
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

/** The recorders behind cameras, in the order of their first camera. */
export function recordersOf(cameras: readonly Camera[]): Recorder[] {
  const channels = new Map<string, Camera[]>();
  for (const camera of cameras) {
    const known = channels.get(camera.recorder_id);
    if (known === undefined) channels.set(camera.recorder_id, [camera]);
    else known.push(camera);
  }
  return [...channels].map(([id, of]) => ({ id, address: addressOf(of[0]?.url ?? ''), cameras: of, state: stateOf(of) }));
}

/** Whether what is wrong with a camera is what its recorder says already. */
export function saysRecorder(recorder: Recorder, camera: Camera): boolean {
  return recorder.state !== null && stateName(camera.state.name) === recorder.state.name;
}

function stateOf(cameras: readonly Camera[]): RecorderState | null {
  const refused = said(cameras, 'refused');
  // While another channel is shown, the password is right: then it is this channel that is not given.
  if (refused !== null && !cameras.some(isShown)) return refused;
  return said(cameras, 'clock_off');
}

function isShown({ state }: Camera): boolean {
  const name = stateName(state.name);
  return mayShow(name) && name !== 'new' && name !== 'starting' && name !== 'stale' && name !== 'unknown';
}

function said(cameras: readonly Camera[], name: RecorderStateName): RecorderState | null {
  const first = cameras
    .filter(({ state }) => stateName(state.name) === name)
    .reduce<Camera | null>((a, b) => (a === null || b.state.since_ms < a.state.since_ms ? b : a), null);
  return first === null ? null : { name, since_ms: first.state.since_ms, detail: first.state.detail };
}

function addressOf(url: string): string {
  return /^rtsp:\/\/(?:[^@/]*@)?([^/?#]+)/i.exec(url)?.[1]?.replace(/:554$/, '') ?? '';
}
