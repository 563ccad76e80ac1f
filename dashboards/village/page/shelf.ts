/**
 * Where drafts lie on this phone: IndexedDB, because a minute of voice is two megabytes. A voice is kept in pieces, in the order
 * in which they were spoken. Where a browser forbids it, drafts last as long as the page, and the page says so.
 */
import type { Draft } from '../model/outbox';

const NAME = 'tongluo.village';
const VERSION = 1;

let opened: Promise<IDBDatabase | null> | null = null;
const drafts_in_memory = new Map<string, Draft>();
const pieces_in_memory = new Map<string, Int16Array[]>();

/** Whether drafts outlast the page. */
export async function isLasting(): Promise<boolean> {
  return (await database()) !== null;
}

export async function keepDraft(draft: Draft): Promise<void> {
  drafts_in_memory.set(draft.id, draft);
  // What Vue watches cannot be stored as it is.
  await change('draft', (store) => store.put(JSON.parse(JSON.stringify(draft))));
}

export async function keepPiece(id: string, number: number, piece: Int16Array): Promise<void> {
  const pieces = pieces_in_memory.get(id) ?? [];
  pieces[number] = piece;
  pieces_in_memory.set(id, pieces);
  await change('piece', (store) => store.put(piece, [id, number]));
}

export async function dropDraft(id: string): Promise<void> {
  drafts_in_memory.delete(id);
  await change('draft', (store) => store.delete(id));
  await dropPieces(id);
}

/** Forgets a voice, and keeps its draft. */
export async function dropPieces(id: string): Promise<void> {
  pieces_in_memory.delete(id);
  await change('piece', (store) => store.delete(IDBKeyRange.bound([id, 0], [id, Infinity])));
}

export async function allDrafts(): Promise<Draft[]> {
  const kept = await read<Draft[]>('draft', (store) => store.getAll());
  return kept ?? [...drafts_in_memory.values()];
}

export async function piecesOf(id: string): Promise<Int16Array[]> {
  const kept = await read<Int16Array[]>('piece', (store) => store.getAll(IDBKeyRange.bound([id, 0], [id, Infinity])));
  return kept !== null && kept.length > 0 ? kept : (pieces_in_memory.get(id) ?? []).filter(Boolean);
}

function database(): Promise<IDBDatabase | null> {
  opened ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open(NAME, VERSION);
      request.onupgradeneeded = () => {
        request.result.createObjectStore('draft', { keyPath: 'id' });
        request.result.createObjectStore('piece');
      };
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opened;
}

type StoreName = 'draft' | 'piece';

/** A phone that is full refuses to keep more: what is in memory can still be sent. */
async function change(name: StoreName, act: (store: IDBObjectStore) => IDBRequest): Promise<void> {
  const shelf = await database();
  if (shelf === null) return;
  await new Promise<void>((resolve) => {
    const transaction = shelf.transaction(name, 'readwrite');
    transaction.oncomplete = transaction.onerror = transaction.onabort = () => resolve();
    act(transaction.objectStore(name));
  });
}

async function read<T>(name: StoreName, act: (store: IDBObjectStore) => IDBRequest): Promise<T | null> {
  const shelf = await database();
  if (shelf === null) return null;
  return new Promise((resolve) => {
    const request = act(shelf.transaction(name, 'readonly').objectStore(name));
    request.onsuccess = () => resolve(request.result as T);
    request.onerror = () => resolve(null);
  });
}
