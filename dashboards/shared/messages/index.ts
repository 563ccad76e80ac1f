/**
 * The catalogue of the language that is shown now. Chinese comes with the page; another language is fetched from the hub when
 * somebody wants it, so that a cheap phone on a slow line does not load words that nobody reads.
 */
import { shallowReactive } from 'vue';
import type { Language } from '../api/types';
import { zhCN, type Messages } from './zh-CN';

export type { Messages };

const loaded = shallowReactive<Partial<Record<Language, Messages>>>({ 'zh-CN': zhCN });

/** The language whose words are shown when `wanted` is wanted: Chinese until the others have come. */
export function shownLanguage(wanted: Language): Language {
  return loaded[wanted] === undefined ? 'zh-CN' : wanted;
}

export function catalogue(wanted: Language): Messages {
  return loaded[wanted] ?? zhCN;
}

/** Fetches a language's words; where that fails the page stays as it is, and the next wish tries again. */
export async function fetchLanguage(wanted: Language): Promise<void> {
  if (loaded[wanted] !== undefined || wanted !== 'en') return;
  try {
    loaded.en = (await import('./en')).en;
  } catch {
    // No line to the hub: Chinese is here.
  }
}
