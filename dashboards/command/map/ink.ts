/** The tokens' colours as a canvas needs them: light or dark already decided by the browser. */

const TOKENS = {
  land: '--surface-raised',
  line: '--line-strong',
  quiet: '--text-quiet',
  text: '--text',
  ground: '--ground',
  accent: '--accent',
  red: '--red-ground',
  on_red: '--on-red',
  amber: '--amber-ground',
  on_amber: '--on-amber',
} as const;

export type Ink = Record<keyof typeof TOKENS, string> & { font: string };

/** Asks `probe`, an element of the page, what each token is here. */
export function inkOf(probe: HTMLElement): Ink {
  const before = probe.style.color;
  const ink: Record<string, string> = { font: getComputedStyle(probe).fontFamily };
  for (const [name, token] of Object.entries(TOKENS)) {
    probe.style.color = `var(${token})`;
    ink[name] = getComputedStyle(probe).color;
  }
  probe.style.color = before;
  return ink as Ink;
}
