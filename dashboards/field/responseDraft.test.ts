import { describe, expect, it } from 'vitest';
import { hasLostItsVoice, responseChangeOf, responseDraftOf, wrongInResponse, type ResponseDraft } from './responseDraft';

const SILENT = { kind: 'silent' as const, speaks: false, siren_s: 30, everywhere: false, speaker_ids: [] };
const draft = (given: Partial<ResponseDraft> = {}): ResponseDraft => ({ ...responseDraftOf(SILENT), ...given });
const THERE = ['k1', 'k2'];

describe('what a press sets off', () => {
  it('needs no loudspeaker while it is silent, and one at least when it is heard', () => {
    expect(wrongInResponse(draft(), [])).toEqual({});
    for (const heard of [draft({ kind: 'siren' }), draft({ kind: 'neighbours' }), draft({ speaks: true })]) {
      expect(wrongInResponse(heard, THERE)).toEqual({ where: true });
      expect(wrongInResponse({ ...heard, speaker_ids: ['gone'] }, THERE)).toEqual({ where: true });
      expect(wrongInResponse({ ...heard, speaker_ids: ['k1'] }, THERE)).toEqual({});
      expect(wrongInResponse({ ...heard, everywhere: true }, THERE)).toEqual({});
    }
  });

  it.each(['', '0', '61', '1.5', '-1', '1e1', 'long'])('sounds no siren for %o seconds', (siren_s) => {
    expect(wrongInResponse(draft({ kind: 'siren', everywhere: true, siren_s }), THERE)).toEqual({ siren_s: true });
    expect(wrongInResponse(draft({ siren_s }), THERE), 'no siren was chosen').toEqual({});
  });

  it('is sent as the hub takes it, if anything of it was changed', () => {
    expect(responseChangeOf(draft(), SILENT, THERE)).toBeUndefined();
    expect(responseChangeOf(draft({ kind: 'siren', siren_s: ' 45 ', speaker_ids: ['k2', 'gone'] }), SILENT, THERE))
      .toEqual({ kind: 'siren', speaks: false, siren_s: 45, speaker_ids: ['k2'] });
    expect(responseChangeOf(draft({ speaks: true, everywhere: true, speaker_ids: ['k2'] }), SILENT, THERE))
      .toEqual({ kind: 'silent', speaks: true, everywhere: true });
    const siren = { ...SILENT, kind: 'siren' as const, everywhere: true };
    expect(responseChangeOf(draft(), siren, THERE)).toEqual({ kind: 'silent', speaks: false });
  });

  it('may have lost its loudspeakers', () => {
    expect(hasLostItsVoice(SILENT)).toBe(false);
    expect(hasLostItsVoice({ ...SILENT, kind: 'siren' })).toBe(true);
    expect(hasLostItsVoice({ ...SILENT, kind: 'siren', everywhere: true })).toBe(false);
    expect(hasLostItsVoice({ ...SILENT, speaks: true, speaker_ids: ['k1'] })).toBe(false);
  });
});
