/** How a person wants the page: its language, and light or dark. Kept on this device. */
import { computed, ref, watchEffect } from 'vue';
import type { Language } from '../api/types';
import { catalogue, fetchLanguage, shownLanguage } from '../messages';
import { storage } from './storage';

type Theme = 'light' | 'dark';

const LANGUAGE_KEY = 'tongluo.language';
const THEME_KEY = 'tongluo.theme';
const root = document.documentElement;

const chosen_language = ref<Language | null>(oneOf(['zh-CN', 'en'], storage.getItem(LANGUAGE_KEY)));
const account_language = ref<Language | null>(null);
const chosen_theme = ref<Theme | null>(oneOf(['light', 'dark'], storage.getItem(THEME_KEY)));

/** The system's wish counts on the field page; the command page is dark until told otherwise. */
const system_dark = matchMedia('(prefers-color-scheme: dark)');
const prefers_dark = ref(system_dark.matches);
system_dark.addEventListener('change', (event) => (prefers_dark.value = event.matches));

export const language = computed<Language>(() => chosen_language.value ?? account_language.value ?? 'zh-CN');
export const messages = computed(() => catalogue(language.value));
export const theme = computed<Theme>(
  () => chosen_theme.value ?? (root.dataset.page === 'command' || prefers_dark.value ? 'dark' : 'light'),
);

/** The language of the account holds until the person at this device chooses another. */
export function useAccountLanguage(of_account: Language): void {
  account_language.value = of_account;
}

export function switchLanguage(): void {
  chosen_language.value = language.value === 'zh-CN' ? 'en' : 'zh-CN';
  remember(LANGUAGE_KEY, chosen_language.value);
}

export function switchTheme(): void {
  chosen_theme.value = theme.value === 'dark' ? 'light' : 'dark';
  remember(THEME_KEY, chosen_theme.value);
}

/** Keeps the document's own attributes in step. */
export function applyPreferences(): void {
  watchEffect(() => void fetchLanguage(language.value));
  watchEffect(() => {
    root.lang = shownLanguage(language.value);
    root.dataset.theme = theme.value;
  });
}

function oneOf<T extends string>(allowed: readonly T[], value: string | null): T | null {
  return allowed.find((candidate) => candidate === value) ?? null;
}

function remember(key: string, value: string): void {
  try {
    storage.setItem(key, value);
  } catch {
    // A device whose storage is full shows the default again after a reload.
  }
}
