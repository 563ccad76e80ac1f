//! FLAC (RFC 9639), as little of it as speech in eight bits needs: one channel, fixed predictors, one Rice parameter a frame.
//!
//! Browsers play no G.711. FLAC loses nothing, every browser and player reads it in an MP4, and an encoder of this kind costs
//! twenty microseconds a packet. Speech takes about as many bytes as in G.711, and silence almost none.

use tongluo_protocols::media::SOUND_FRAME_SAMPLES_MAX;

/// The longest frame, in samples.
pub(super) const FRAME_SAMPLES_MAX: usize = SOUND_FRAME_SAMPLES_MAX as usize;

/// Bits of a sample.
const SAMPLE_BITS: u32 = 16;

/// A predictor of this order is the last one that the format has fixed.
const ORDER_MAX: usize = 4;

/// Above it a parameter is an escape.
const RICE_MAX: u32 = 14;

/// A frame header's count of samples has at most so many bits; it begins anew after 270 years at 8 kHz.
const POSITION_MASK: u64 = (1 << 36) - 1;

/// Encodes one frame of one channel: 1 to [`FRAME_SAMPLES_MAX`] samples. `position` is the number of its first sample.
pub(super) fn frame(samples: &[i16], rate_hz: u32, position: u64) -> Vec<u8> {
    debug_assert!((1..=FRAME_SAMPLES_MAX).contains(&samples.len()), "a frame has 1 to {FRAME_SAMPLES_MAX} samples");
    let mut bits = Bits { bytes: Vec::with_capacity(24 + samples.len()), free: 0 };
    header(&mut bits, samples.len(), rate_hz, position & POSITION_MASK);
    subframe(&mut bits, samples);
    let mut bytes = bits.bytes;
    let check = crc16(&bytes);
    bytes.extend_from_slice(&check.to_be_bytes());
    bytes
}

fn header(bits: &mut Bits, count: usize, rate_hz: u32, position: u64) {
    // Sync code, and "frames may have different lengths".
    bits.put(16, 0xfff9);
    // The length follows in 16 bits, the rate in 16 bits of Hz; one channel, 16 bits a sample, a reserved zero.
    bits.put(4, 0b0111);
    bits.put(4, 0b1101);
    bits.put(4, 0);
    bits.put(3, 0b100);
    bits.put(1, 0);
    coded_number(bits, position);
    bits.put(16, count as u64 - 1);
    bits.put(16, rate_hz.into());
    let check = crc8(&bits.bytes);
    bits.put(8, check.into());
}

/// As UTF-8 writes numbers, up to 36 bits.
fn coded_number(bits: &mut Bits, number: u64) {
    if number < 0x80 {
        return bits.put(8, number);
    }
    let follow = (2..=7).find(|bytes| number < 1 << (5 * bytes + 1)).unwrap_or(7) - 1;
    bits.put(8, (0xff00 >> (follow + 1) & 0xff) | number >> (6 * follow));
    for at in (0..follow).rev() {
        bits.put(8, 0x80 | number >> (6 * at) & 0x3f);
    }
}

fn subframe(bits: &mut Bits, samples: &[i16]) {
    if samples.iter().all(|sample| *sample == samples[0]) {
        // Constant: the sample once.
        bits.put(8, 0);
        return bits.put_signed(SAMPLE_BITS, samples[0].into());
    }
    // What G.711 decodes to has two or three zero bits at its end.
    let wasted = samples.iter().fold(0, |all, sample| all | *sample).trailing_zeros();
    let shifted: Vec<i32> = samples.iter().map(|sample| i32::from(*sample) >> wasted).collect();
    let sample_bits = SAMPLE_BITS - wasted;
    let residuals: Vec<Vec<i32>> = residuals(&shifted);
    let costs = residuals.iter().enumerate().map(|(order, residual)| {
        let (parameter, coded) = rice_cost(residual);
        (order as u64 * u64::from(sample_bits) + 10 + coded, order, parameter)
    });
    let (cost, order, parameter) = costs.min().expect("order 0 is always there");
    let verbatim = cost >= samples.len() as u64 * u64::from(sample_bits);
    let kind = if verbatim { 0b00_0001 } else { 0b00_1000 | order as u64 };
    bits.put(7, kind);
    bits.put(1, u64::from(wasted > 0));
    if wasted > 0 {
        bits.put(wasted, 1);
    }
    let plain = if verbatim { shifted.len() } else { order };
    for sample in &shifted[..plain] {
        bits.put_signed(sample_bits, *sample);
    }
    if !verbatim {
        // Rice codes with parameters of four bits, in one partition.
        bits.put(6, 0);
        bits.put(4, parameter.into());
        for value in &residuals[order] {
            let folded = fold(*value);
            bits.zeros(folded >> parameter);
            bits.put(1, 1);
            bits.put(parameter, u64::from(folded) & ((1 << parameter) - 1));
        }
    }
}

/// What each fixed predictor leaves, by its order: the differences of the differences.
fn residuals(samples: &[i32]) -> Vec<Vec<i32>> {
    let mut all = vec![samples.to_vec()];
    for order in 1..=ORDER_MAX.min(samples.len() - 1) {
        let next = all[order - 1].windows(2).map(|pair| pair[1] - pair[0]).collect();
        all.push(next);
    }
    all
}

/// The best parameter, and how many bits the values take with it.
fn rice_cost(values: &[i32]) -> (u32, u64) {
    let bits = |parameter: u32| -> u64 {
        values.iter().map(|value| u64::from(fold(*value) >> parameter) + 1 + u64::from(parameter)).sum()
    };
    (0..=RICE_MAX)
        .map(|parameter| (bits(parameter), parameter))
        .min()
        .map_or((0, 0), |(cost, parameter)| (parameter, cost))
}

/// 0, −1, 1, −2, 2 … as 0, 1, 2, 3, 4 …
const fn fold(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

/// Bits, the most significant first.
struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    free: u32,
}

impl Bits {
    fn put(&mut self, count: u32, value: u64) {
        for at in (0..count).rev() {
            if self.free == 0 {
                self.bytes.push(0);
                self.free = 8;
            }
            self.free -= 1;
            let last = self.bytes.last_mut().expect("a byte was pushed above");
            *last |= ((value >> at & 1) as u8) << self.free;
        }
    }

    fn put_signed(&mut self, count: u32, value: i32) {
        self.put(count, i64::from(value).cast_unsigned());
    }

    fn zeros(&mut self, count: u32) {
        for _ in 0..count {
            self.put(1, 0);
        }
    }
}

/// Polynomial x⁸ + x² + x + 1.
fn crc8(bytes: &[u8]) -> u8 {
    bytes
        .iter()
        .fold(0, |crc, byte| (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 }))
}

/// Polynomial x¹⁶ + x¹⁵ + x² + 1.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        let crc = crc ^ u16::from(*byte) << 8;
        (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8005 })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::camera::sound::tests::{decoded_flac, tone};

    /// What FFmpeg decodes of frames of so many samples each.
    fn through_ffmpeg(samples: &[i16], frame_samples: usize) -> (Vec<i16>, usize) {
        let mut position = 1 << 20;
        let frames: Vec<Vec<u8>> = samples
            .chunks(frame_samples)
            .map(|samples| {
                let frame = frame(samples, 8_000, position);
                position += samples.len() as u64;
                frame
            })
            .collect();
        (decoded_flac(&frames, 8_000), frames.concat().len())
    }

    #[test]
    fn ffmpeg_decodes_the_same_samples() {
        let mut noise = 12_345_u32;
        let noisy: Vec<i16> = (0..4_000)
            .map(|_| {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (noise >> 16) as i16
            })
            .collect();
        let loud: Vec<i16> = (0..800).map(|i| if i % 7 < 3 { i16::MAX } else { i16::MIN }).collect();
        for (name, samples) in [
            ("a tone", tone(440, 8_000)),
            ("noise", noisy),
            ("the loudest there is", loud),
            ("silence", vec![0; 1_000]),
            ("another constant", vec![-8; 1_000]),
            ("zero bits at the end", tone(300, 4_000).iter().map(|sample| sample & !7).collect()),
        ] {
            for frame_samples in [160, 333, FRAME_SAMPLES_MAX] {
                assert!(through_ffmpeg(&samples, frame_samples).0 == samples, "{name} in frames of {frame_samples}");
            }
        }
    }

    #[test]
    fn positions_are_written_as_utf_8_writes_numbers() {
        for (number, bytes) in [
            (0x41, &b"\x41"[..]),
            (0xe9, b"\xc3\xa9"),
            (0x1_f600, b"\xf0\x9f\x98\x80"),
            (POSITION_MASK, b"\xfe\xbf\xbf\xbf\xbf\xbf\xbf"),
        ] {
            let mut bits = Bits { bytes: Vec::new(), free: 0 };
            coded_number(&mut bits, number);
            assert_eq!(bits.bytes, bytes, "{number:#x}");
        }
    }

    #[test]
    fn silence_costs_next_to_nothing_and_noise_no_more_than_its_samples() {
        assert!(frame(&[8; 320], 8_000, 0).len() <= 24);
        let noise: Vec<i16> = (0_i32..320).map(|i| (i * 25_173 + 13_849) as i16).collect();
        assert!(frame(&noise, 8_000, 0).len() <= 640 + 24);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn no_samples_panic(samples in proptest::collection::vec(any::<i16>(), 1..400), position: u64) {
            let bytes = frame(&samples, 8_000, position);
            prop_assert!(bytes.len() <= samples.len() * 2 + 32);
        }
    }
}
