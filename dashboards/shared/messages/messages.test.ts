// Every visible word is in the catalogues: no component holds text, no key is missing in a
// language, and none is there that nobody shows.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, type SFCTemplateBlock } from 'vue/compiler-sfc';
import { en } from './en';
import { zhCN } from './zh-CN';

const root = new URL('../../', import.meta.url).pathname;
const sources = ['command', 'field', 'village', 'shared'].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name)),
);
const components = sources.filter((name) => name.endsWith('.vue'));
const read = (name: string) => readFileSync(join(root, name), 'utf8');

const HAN = /\p{Script=Han}/u;
/** Attributes that a person sees or hears. */
const SPOKEN = new Set(['title', 'alt', 'placeholder', 'aria-label', 'aria-description', 'label', 'hint']);

type Node = NonNullable<SFCTemplateBlock['ast']>['children'][number];

/** The raw texts of a template: text nodes with letters in them, and spoken attributes. */
function rawTexts(source: string): string[] {
  const found: string[] = [];
  const visit = (node: Node): void => {
    if (node.type === 2 && /\p{L}/u.test(node.content)) found.push(node.content.trim());
    if (node.type !== 1) return;
    for (const property of node.props) {
      if (property.type === 6 && SPOKEN.has(property.name) && property.value?.content) found.push(property.value.content);
    }
    node.children.forEach(visit);
  };
  parse(source).descriptor.template?.ast?.children.forEach(visit);
  return found;
}

function paths(catalogue: object, prefix = ''): string[] {
  return Object.entries(catalogue).flatMap(([key, value]) =>
    typeof value === 'object' && !Array.isArray(value) ? paths(value, `${prefix}${key}.`) : [`${prefix}${key}`],
  );
}

describe('messages', () => {
  it('finds raw text where there is some', () => {
    expect(rawTexts('<template><p>你好 {{ m.a }}</p><img alt="Gong" /></template>')).toEqual(['你好', 'Gong']);
  });

  it.each(components)('%s holds no text of its own', (name) => {
    expect(rawTexts(read(name))).toEqual([]);
  });

  it.each(sources.filter((name) => /\.(vue|ts)$/.test(name) && !name.includes('messages') && !name.includes('.test.')))(
    '%s holds no Chinese outside the catalogue',
    (name) => {
      expect(read(name)).not.toMatch(HAN);
    },
  );

  it('says everything in both languages', () => {
    expect(paths(en).sort()).toEqual(paths(zhCN).sort());
  });

  it('says nothing that is not shown', () => {
    const shown = sources.filter((name) => /\.(vue|ts)$/.test(name) && !name.includes('messages')).map(read).join('\n');
    // Deeper keys are looked up by a state's name; their group must be shown.
    const keys = paths(zhCN).map((path) => path.split('.').slice(0, 2).join('.'));
    const group = (key: string) => `${key.split('.')[0]}[`;
    const isShown = (key: string) =>
      [key, group(key)].some((path) => shown.includes(`m.${path}`) || shown.includes(`m.value.${path}`));
    expect(keys.filter((key) => !isShown(key))).toEqual([]);
  });
});
