import { describe, expect, it } from 'vitest';
import { BATTERY_LOW_PERCENT, claimStage, deviceLook, devicesInOrder, deviceTitle, isBatteryLow, search, siteLook, sitesInOrder } from './site';
import { device, gateway, site } from './samples';

describe('a site', () => {
  const claim = { id: 'c1', expires_ms: 100 };
  it.each([
    ['online', site()],
    ['offline', site({ gateway: gateway({ online: false }) })],
    ['claimed', site({ gateway: null, claim })],
    ['empty', site({ gateway: null })],
    ['empty', site({ gateway: null, claim: { ...claim, expires_ms: 50 } })],
  ] as const)('looks %s', (expected, given) => {
    expect(siteLook(given, 50)).toBe(expected);
  });

  it('is found by every word of its name and region', () => {
    const list = [site({ id: '1', name: '张庄村委会', region_name: '张庄' }), site({ id: '2', name: '东头小卖部', region_name: '玉山' })];
    expect(search(list, '').map(({ id }) => id)).toEqual(['1', '2']);
    expect(search(list, '玉山 小卖').map(({ id }) => id)).toEqual(['2']);
    expect(search(list, '玉山 张庄')).toEqual([]);
  });

  it('keeps its place in the list whatever its gateway does', () => {
    const a = site({ id: 'a', region_code: '1' });
    const b = site({ id: 'b', region_code: '2' });
    expect(sitesInOrder([b, a])).toEqual([a, b]);
    expect(sitesInOrder([{ ...b, gateway: null }, a])[0]).toBe(a);
  });
});

describe('a claim', () => {
  it.each([
    ['waiting', site({ gateway: null }), null, true],
    ['expired', site({ gateway: null }), null, false],
    ['enrolled', site({ gateway: gateway({ online: false }) }), null, true],
    ['online', site(), null, false],
    ['waiting', site(), '01', true],
    ['online', site({ gateway: gateway({ certificate_serial: '02' }) }), '01', true],
  ] as const)('is %s', (expected, given, serial_before, is_valid) => {
    expect(claimStage(given, serial_before, is_valid)).toBe(expected);
  });
});

describe('a device', () => {
  it('is called by its given name, else its own, else its key', () => {
    expect(deviceTitle(device({ name: 'Wang', reported_name: 'sos' }))).toBe('Wang');
    expect(deviceTitle(device({ name: '', reported_name: 'sos' }))).toBe('sos');
    expect(deviceTitle(device())).toBe('zigbee:0x1');
  });

  it('is not called alive without proof', () => {
    expect(deviceLook(device(), true)).toBe('unknown');
    expect(deviceLook(device({ available: true }), true)).toBe('available');
    expect(deviceLook(device({ available: false }), true)).toBe('silent');
    expect(deviceLook(device({ available: true }), false)).toBe('unknown');
  });

  it('keeps its place as first heard', () => {
    const first = device({ id: 'a', first_heard_ms: 1, name: 'z' });
    const later = device({ id: 'b', first_heard_ms: 2, name: 'a' });
    expect(devicesInOrder([later, first])).toEqual([first, later]);
  });

  it('says when its battery is low', () => {
    expect(isBatteryLow(device({ battery_percent: BATTERY_LOW_PERCENT - 1 }))).toBe(true);
    expect(isBatteryLow(device({ battery_percent: BATTERY_LOW_PERCENT }))).toBe(false);
    expect(isBatteryLow(device())).toBe(false);
  });
});
