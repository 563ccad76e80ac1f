/**
 * The county as this page knows it: alarms, sites, devices and faults, read as lists and kept up
 * by the hub's stream of changes. It owns the EventSource; the rules are in `model/link`.
 */
import { computed, shallowReactive, shallowRef } from 'vue';
import type { Result } from '../api/client';
import type { Alarm, Device, Fault, Site } from '../api/types';
import type { Camera, Evidence } from '../api/video';
import type { Notice, Speaker } from '../api/voice';
import { apply, forget, merge, values, type Collection } from '../model/collection';
import { handle, isStale, stopped, type LinkInput, type LinkOutput } from '../model/link';
import { isOver } from '../model/notice';
import { everySecond, hubNow, monotonic, monotonicNow, setHubTime } from './clock';
import { me, withSession } from './session';

/** Closed alarms, cleared faults and notices that are over kept after their last change, see `forget`. */
const FINISHED_MAX = 200;

interface Kinds {
  alarm: Alarm;
  site: Site;
  device: Device;
  fault: Fault;
  camera: Camera;
  evidence: Evidence;
  speaker: Speaker;
  notice: Notice;
}
export type Kind = keyof Kinds;

/** A list that this page follows: how to read it whole, and which changes belong to it. */
export interface Feed<K extends Kind> {
  kind: K;
  read: () => Promise<Result<{ sequence: number; list: Kinds[K][] }>>;
  concerns?: (value: Kinds[K]) => boolean;
  /** True for what stands beside the lists: that it cannot be read now must not keep the page from being live. */
  beside?: boolean;
}

type AnyFeed = { [K in Kind]: Feed<K> }[Kind];
const KINDS: readonly Kind[] = ['alarm', 'site', 'device', 'fault', 'camera', 'evidence', 'speaker', 'notice'];

const known: { [K in Kind]: Collection<Kinds[K]> } = {
  alarm: shallowReactive(new Map()),
  site: shallowReactive(new Map()),
  device: shallowReactive(new Map()),
  fault: shallowReactive(new Map()),
  camera: shallowReactive(new Map()),
  evidence: shallowReactive(new Map()),
  speaker: shallowReactive(new Map()),
  notice: shallowReactive(new Map()),
};
const feeds = new Map<Kind, AnyFeed>();
const link = stopped(monotonic());
/** A copy of what of the link is shown, replaced after each step. */
const shown = shallowRef({ ...link });
/** Who wants to hear of every change of a kind, and of every reading of the lists. */
const listeners: { [K in Kind]: Set<(value: Kinds[K]) => void> } = {
  alarm: new Set(),
  site: new Set(),
  device: new Set(),
  fault: new Set(),
  camera: new Set(),
  evidence: new Set(),
  speaker: new Set(),
  notice: new Set(),
};
const readers = new Set<() => void>();
let source: EventSource | null = null;
let last_word_ms: number | null = null;
/** Whose view of the county this is; another person's starts empty. */
let owner = '';
/** Which reading of the lists is under way; an answer to an older one is not used. */
let reading = 0;

export const alarms = computed(() => values(known.alarm));
export const openAlarms = computed(() => alarms.value.filter((alarm) => alarm.state !== 'closed'));
export const sites = computed(() => values(known.site));
export const devices = computed(() => values(known.device));
export const cameras = computed(() => values(known.camera));
export const evidence = computed(() => values(known.evidence));
export const speakers = computed(() => values(known.speaker));
export const notices = computed(() => values(known.notice));
export const openFaults = computed(() => values(known.fault).filter((fault) => fault.state === 'open'));

/** Whether what is shown may no longer be true, and since when. */
export const stale = computed(() => isStale(shown.value, monotonicNow.value));
export const staleSince = shallowRef(0);
export const connected = computed(() => shown.value.phase === 'live');
/** False until the lists were read once: the page keeps its shape and says that it is reading. */
export const ready = shallowRef(false);

/** Follows lists for as long as the page lives. */
export function follow(...followed: AnyFeed[]): void {
  for (const feed of followed) feeds.set(feed.kind, feed);
  everySecond((now) => step({ what: 'tick' }, now));
  withSession(start, () => step({ what: 'stop' }));
}

/**
 * Follows another list from now on, in the place of what was followed of its kind, and reads it; the answer says whether
 * that went well.
 */
export async function followNow<K extends Kind>(feed: Feed<K>): ReturnType<Feed<K>['read']> {
  feeds.set(feed.kind, feed as unknown as AnyFeed);
  known[feed.kind].clear();
  const result = await feed.read();
  if (result.ok && isFollowed(feed)) merge(known[feed.kind], result.value.list, result.value.sequence);
  return result;
}

/** Reads a followed list again, beside its changes: for what the hub works out only when it is asked. */
export async function readAgain<K extends Kind>(feed: Feed<K>): Promise<void> {
  const result = await feed.read();
  if (result.ok && isFollowed(feed)) merge(known[feed.kind], result.value.list, result.value.sequence);
}

/** Whether a list is the one of its kind that the page follows now. */
export function isFollowed<K extends Kind>(feed: Feed<K>): boolean {
  return feeds.get(feed.kind) === (feed as unknown as AnyFeed);
}

/** Stops following a list, if it is still the one of its kind. */
export function unfollow<K extends Kind>(feed: Feed<K>): void {
  if (!isFollowed(feed)) return;
  feeds.delete(feed.kind);
  known[feed.kind].clear();
}

/** Calls back at each change of a kind that the hub tells, whether or not its list is followed; returns how to stop. */
export function whenChanged<K extends Kind>(kind: K, listener: (value: Kinds[K]) => void): () => void {
  listeners[kind].add(listener);
  return () => listeners[kind].delete(listener);
}

/** Calls back whenever the lists were read anew, for what is read beside them; returns how to stop. */
export function whenRead(reader: () => void): () => void {
  readers.add(reader);
  if (ready.value) reader();
  return () => readers.delete(reader);
}

/** Takes what the hub answered to a person's own act, before the stream says it too. */
export function learn<K extends Kind>(kind: K, value: Kinds[K]): void {
  const sequence = known[kind].get(value.id)?.sequence ?? link.sequence;
  apply(known[kind], value, sequence);
}

function start(): void {
  const person = me.value?.username ?? '';
  if (person !== owner) {
    owner = person;
    ready.value = false;
    for (const kind of KINDS) known[kind].clear();
  }
  step({ what: 'start' });
}

function step(input: LinkInput, now = monotonic()): void {
  const outputs = handle(link, now, input);
  if (input.what === 'tick' && outputs.length === 0) return;
  shown.value = { ...link };
  for (const output of outputs) run(output);
}

function run(output: LinkOutput): void {
  switch (output.do) {
    case 'read':
      void readAll();
      break;
    case 'open':
      open(output.after);
      break;
    case 'close':
      source?.close();
      source = null;
      break;
    case 'doubt':
      for (const kind of KINDS) for (const entry of known[kind].values()) entry.sequence = 0;
      break;
  }
}

async function readAll(): Promise<void> {
  const mine = ++reading;
  const wanted = [...feeds.values()];
  const results = await Promise.all(wanted.map((feed) => feed.read()));
  if (mine !== reading || link.phase === 'stopped') return;
  const lists = results.flatMap((result) => (result.ok ? [result.value] : []));
  if (results.some((result, index) => !result.ok && wanted[index]?.beside !== true)) {
    step({ what: 'read_failed' });
    return;
  }
  // The link first: it may find that the hub's log began anew, and then the lists win.
  step({ what: 'read', sequence: Math.min(...lists.map((list) => list.sequence)) });
  wanted.forEach((feed, index) => {
    const result = results[index];
    if (result?.ok) merge(known[feed.kind] as Collection<Kinds[Kind]>, result.value.list, result.value.sequence);
  });
  staleSince.value = hubNow.value;
  ready.value = true;
  for (const reader of readers) reader();
}

function open(after: number): void {
  source?.close();
  const stream = new EventSource(`/api/v1/events?after=${after}`);
  source = stream;
  const mine = (act: () => void) => {
    if (source === stream) act();
  };
  stream.onopen = () => mine(() => step({ what: 'opened' }));
  stream.onerror = () =>
    mine(() => step({ what: stream.readyState === EventSource.CLOSED ? 'ended' : 'broken' }));
  stream.addEventListener('beat', (event) => mine(() => beat(event)));
  stream.addEventListener('reset', (event) =>
    mine(() => step({ what: 'reset', sequence: Number(parse<{ sequence: number }>(event)?.sequence ?? 0) })),
  );
  for (const kind of KINDS) stream.addEventListener(kind, (event) => mine(() => changed(kind, event)));
}

function beat(event: MessageEvent<string>): void {
  const word = parse<{ now_ms: number }>(event);
  if (word !== null) {
    setHubTime(word.now_ms);
    last_word_ms = word.now_ms;
    staleSince.value = word.now_ms;
  }
  step({ what: 'word', sequence: sequenceOf(event) });
}

function changed<K extends Kind>(kind: K, event: MessageEvent<string>): void {
  const value = parse<Kinds[K]>(event);
  const sequence = sequenceOf(event);
  const feed = feeds.get(kind) as Feed<K> | undefined;
  if (value !== null && feed !== undefined && (feed.concerns?.(value) ?? true)) {
    apply(known[kind], value, sequence ?? link.sequence);
    forget(known.camera, (camera) => camera.deleted, 0);
    forget(known.speaker, (speaker) => speaker.deleted, 0);
    forget(known.notice, isOver, FINISHED_MAX);
    forget(known.alarm, (alarm) => alarm.state === 'closed', FINISHED_MAX);
    forget(known.fault, (fault) => fault.state === 'cleared', FINISHED_MAX);
  }
  if (value !== null) for (const listener of listeners[kind]) listener(value);
  if (last_word_ms !== null) staleSince.value = hubNow.value;
  step({ what: 'word', sequence });
}

function sequenceOf(event: MessageEvent<string>): number | null {
  const sequence = Number(event.lastEventId);
  return event.lastEventId === '' || !Number.isFinite(sequence) ? null : sequence;
}

/** An event that cannot be read is a word from the hub, but teaches nothing. */
function parse<T>(event: MessageEvent<string>): T | null {
  try {
    return JSON.parse(event.data) as T;
  } catch {
    return null;
  }
}
