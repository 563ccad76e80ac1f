/** The catalogue of the language that is shown now. */
import type { Language } from '../api/types';
import { en } from './en';
import { zhCN, type Messages } from './zh-CN';

export type { Messages };

export const CATALOGUES: Record<Language, Messages> = { 'zh-CN': zhCN, en };
