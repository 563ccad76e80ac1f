import { describe, expect, it } from 'vitest';
import { parseAddress, wholeNumber, withoutSecret } from './rtsp';

describe('the address of a stream', () => {
  it('is kept without what opens it', () => {
    expect(parseAddress(' rtsp://192.168.8.20:554/Streaming/Channels/101 ')).toEqual({
      url: 'rtsp://192.168.8.20:554/Streaming/Channels/101', username: null, password: null,
    });
    expect(parseAddress('rtsp://admin:a%40b@10.0.0.2/1?x=1')).toEqual({ url: 'rtsp://10.0.0.2/1?x=1', username: 'admin', password: 'a@b' });
    expect(parseAddress('RTSP://admin:p@ss:w%rd@cam.lan')).toEqual({ url: 'rtsp://cam.lan', username: 'admin', password: 'p@ss:w%rd' });
    expect(parseAddress('rtsp://admin@[fe80::1]:8554/a')).toEqual({ url: 'rtsp://[fe80::1]:8554/a', username: 'admin', password: '' });
  });

  it.each(['', 'rtsp://', 'rtsp:///path', 'http://a/b', '192.168.8.20', 'rtsp://a b/c', 'rtsp://a:99999/', 'rtsp://a:0/', 'rtsp://a:x/', 'rtsp://@/'])(
    '%o is none',
    (text) => expect(parseAddress(text)).toBeNull(),
  );

  it.each([
    ['rtsp://admin:s3cret', 'rtsp://admin'],
    [' RTSP://admin:a/b c', ' RTSP://admin'],
    ['rtsp://admin:s3cret@', ''],
    ['admin:s3cret@10.0.0.2', ''],
    ['rtsp://10.0.0.2/a b', 'rtsp://10.0.0.2/a b'],
    ['rtsp://', 'rtsp://'],
    ['192.168.8.20', '192.168.8.20'],
  ])('%o is kept as %o while it is typed', (text, kept) => expect(withoutSecret(text)).toBe(kept));

  it('comes with whole numbers only', () => {
    expect(wholeNumber(' 30 ', 1, 365)).toBe(30);
    for (const wrong of ['', '0', '366', '1.5', '-1', '1e2', 'x', '９']) expect(wholeNumber(wrong, 1, 365), wrong).toBeNull();
  });
});
