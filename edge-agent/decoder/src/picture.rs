//! Pictures: from NAL units to pixels, and from pixels to a JPEG or a judgement.

use ffmpeg_next::codec::{Context, Id, decoder, encoder};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;
use ffmpeg_next::software::scaling;
use ffmpeg_next::{Discard, Packet, Rational, color, threading};
use tongluo_protocols::media::decoder::{BLOCK_COUNT, BLOCKS, Looks, Request};
use tongluo_protocols::media::{Codec, LengthPrefixed};

/// Pictures decoded for one snapshot: three seconds at 25 a second.
const PICTURES_MAX: usize = 80;

/// The largest picture that is decoded: 4096 × 3072.
const PIXELS_MAX: u32 = 4_096 * 3_072;

/// Qualities that are tried until a JPEG fits, the best first (FFmpeg's scale: 2 is best, 31 worst).
const QUALITIES: [i32; 4] = [4, 8, 16, 31];

/// The start of a NAL unit where lengths do not stand before it.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Starts the library, silent: its log would go to nobody.
pub(crate) fn prepare() -> Result<(), ffmpeg_next::Error> {
    ffmpeg_next::init()?;
    ffmpeg_next::log::set_level(ffmpeg_next::log::Level::Quiet);
    Ok(())
}

/// The last picture of a request; with `first_only` the first.
pub(crate) fn decode(request: &Request<'_>, first_only: bool) -> Result<Video, String> {
    let mut decoder = open(request.codec, first_only)?;
    let mut last = None;
    let count_max = if first_only { 1 } else { PICTURES_MAX };
    let mut annex_b = parameter_sets(request.codec, request.parameters)?;
    for picture in LengthPrefixed(request.pictures).take(count_max) {
        for nal in LengthPrefixed(picture) {
            annex_b.extend_from_slice(&START_CODE);
            annex_b.extend_from_slice(nal);
        }
        if annex_b.is_empty() {
            continue;
        }
        // A picture that cannot be decoded is passed over; the last one that can is the answer.
        if decoder.send_packet(&Packet::copy(&annex_b)).is_ok() {
            receive(&mut decoder, &mut last)?;
        }
        annex_b.clear();
    }
    let _ = decoder.send_eof();
    receive(&mut decoder, &mut last)?;
    last.ok_or_else(|| "no picture could be decoded".to_owned())
}

fn open(codec: Codec, first_only: bool) -> Result<decoder::Video, String> {
    let id = match codec {
        Codec::H264 => Id::H264,
        Codec::H265 => Id::HEVC,
    };
    let codec = decoder::find(id).ok_or("the codec is not installed")?;
    let mut context = Context::new_with_codec(codec);
    // One thread: what matters is that nothing else waits.
    context.set_threading(threading::Config { kind: threading::Type::None, count: 1, ..threading::Config::default() });
    let mut decoder = context.decoder();
    if first_only {
        // A judgement does not need the finest edges.
        decoder.skip_loop_filter(Discard::All);
    }
    decoder.video().map_err(|error| format!("the codec cannot be opened: {error}"))
}

fn receive(decoder: &mut decoder::Video, last: &mut Option<Video>) -> Result<(), String> {
    let mut frame = Video::empty();
    while decoder.receive_frame(&mut frame).is_ok() {
        let (width, height) = (frame.width(), frame.height());
        if width == 0 || height == 0 || width.saturating_mul(height) > PIXELS_MAX {
            return Err(format!("a picture of {width} × {height} is not decoded"));
        }
        *last = Some(std::mem::replace(&mut frame, Video::empty()));
    }
    Ok(())
}

/// The parameter sets of an `avcC` or `hvcC` record (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1), with start codes.
fn parameter_sets(codec: Codec, record: &[u8]) -> Result<Vec<u8>, String> {
    let mut reader = Record(record);
    let mut sets = Vec::new();
    let whole = match codec {
        Codec::H264 => avc_sets(&mut reader, &mut sets),
        Codec::H265 => hevc_sets(&mut reader, &mut sets),
    };
    whole.ok_or("the codec's parameters end early")?;
    Ok(sets)
}

fn avc_sets(reader: &mut Record<'_>, sets: &mut Vec<u8>) -> Option<()> {
    reader.take(5)?;
    for mask in [0x1f, 0xff] {
        for _ in 0..reader.byte()? & mask {
            reader.set(sets)?;
        }
    }
    Some(())
}

fn hevc_sets(reader: &mut Record<'_>, sets: &mut Vec<u8>) -> Option<()> {
    reader.take(22)?;
    for _array in 0..reader.byte()? {
        reader.byte()?;
        for _ in 0..reader.pair()? {
            reader.set(sets)?;
        }
    }
    Some(())
}

struct Record<'a>(&'a [u8]);

impl<'a> Record<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn pair(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn set(&mut self, sets: &mut Vec<u8>) -> Option<()> {
        let length = self.pair()?;
        let set = self.take(length.into())?;
        sets.extend_from_slice(&START_CODE);
        sets.extend_from_slice(set);
        Some(())
    }
}

/// A picture as a JPEG of bounded size.
pub(crate) fn jpeg(frame: &Video, width_max: u32, bytes_max: usize) -> Result<Vec<u8>, String> {
    let scaled = scale(frame, width_max.max(16))?;
    for quality in QUALITIES {
        let jpeg = encode(&scaled, quality).map_err(|error| format!("no JPEG could be made: {error}"))?;
        if jpeg.len() <= bytes_max {
            return Ok(jpeg);
        }
    }
    Err(format!("the picture does not fit into {bytes_max} bytes"))
}

fn scale(frame: &Video, width_max: u32) -> Result<Video, String> {
    let (width, height) = (frame.width(), frame.height());
    let even = |pixels: u32| (pixels & !1).max(2);
    let (to_width, to_height) = if width > width_max {
        (even(width_max), even(u32::try_from(u64::from(height) * u64::from(width_max) / u64::from(width)).unwrap_or(2)))
    } else {
        (even(width), even(height))
    };
    let failed = |error: ffmpeg_next::Error| format!("the picture cannot be scaled: {error}");
    let flags = scaling::Flags::BILINEAR;
    let mut context = scaling::Context::get(frame.format(), width, height, Pixel::YUVJ420P, to_width, to_height, flags)
        .map_err(failed)?;
    let mut scaled = Video::empty();
    context.run(frame, &mut scaled).map_err(failed)?;
    scaled.set_color_range(color::Range::JPEG);
    Ok(scaled)
}

fn encode(frame: &Video, quality: i32) -> Result<Vec<u8>, ffmpeg_next::Error> {
    let codec = encoder::find(Id::MJPEG).ok_or(ffmpeg_next::Error::EncoderNotFound)?;
    let mut encoder = Context::new_with_codec(codec).encoder().video()?;
    encoder.set_width(frame.width());
    encoder.set_height(frame.height());
    encoder.set_format(Pixel::YUVJ420P);
    encoder.set_color_range(color::Range::JPEG);
    encoder.set_time_base(Rational(1, 25));
    encoder.set_qmin(quality);
    encoder.set_qmax(quality);
    let mut encoder = encoder.open()?;
    encoder.send_frame(frame)?;
    encoder.send_eof()?;
    let mut packet = Packet::empty();
    encoder.receive_packet(&mut packet)?;
    Ok(packet.data().unwrap_or_default().to_vec())
}

/// What a picture shows, by its brightness.
pub(crate) fn looks(frame: &Video) -> Looks {
    let (width, height) = (frame.plane_width(0) as usize, frame.plane_height(0) as usize);
    let (stride, data) = (frame.stride(0), frame.data(0));
    let rows = || (0..height).map(|y| data.get(y * stride..y * stride + width).unwrap_or_default());
    let mut sums = [0_u64; BLOCK_COUNT];
    let mut counts = [0_u64; BLOCK_COUNT];
    let mut checksum = 0xcbf2_9ce4_8422_2325_u64;
    for (y, row) in rows().enumerate() {
        let block_row = y * BLOCKS.1 / height * BLOCKS.0;
        for (x, cell) in row.chunks(width.div_ceil(BLOCKS.0)).enumerate() {
            let sum: u64 = cell.iter().map(|value| u64::from(*value)).sum();
            sums[block_row + x] += sum;
            counts[block_row + x] += cell.len() as u64;
        }
        for word in row.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..word.len()].copy_from_slice(word);
            checksum = (checksum ^ u64::from_le_bytes(bytes)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
    }
    let means = || sums.iter().zip(&counts).filter(|(_, count)| **count > 0).map(|(sum, count)| sum / count);
    let mean = sums.iter().sum::<u64>() / counts.iter().sum::<u64>().max(1);
    let spread = means().max().unwrap_or(0) - means().min().unwrap_or(0);
    let byte = |value| u8::try_from(value).unwrap_or(u8::MAX);
    let blocks = std::array::from_fn(|i| byte((sums[i] + counts[i] / 2) / counts[i].max(1)));
    Looks { mean: byte(mean), spread: byte(spread), checksum, blocks }
}

#[cfg(test)]
mod tests;
