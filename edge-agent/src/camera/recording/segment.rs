//! A segment: some minutes of one stream in one file, an ordinary fragmented MP4 that any player opens.
//!
//! Before each fragment stands a small box of our own (a `uuid` box, which players pass over) that says when the fragment was
//! captured, how long it lasts and whether it begins with a keyframe. So a file explains itself: after a crash its index is read
//! back from it, up to the last fragment that is whole, and what follows is cut off.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use tongluo_protocols::media::mp4::{self, Sample, SoundSample, Track};

use crate::camera::ring::Frame;

/// The name of our box, drawn at random once.
const MARK_UUID: [u8; 16] = *b"\x54\x4c\x9d\x0e\x5b\x61\x4e\x27\xa3\x6a\x0d\x9b\x7c\x11\x8e\x42";

/// Box header, name, wall clock, duration, flags.
const MARK_BYTES: usize = 8 + 16 + 8 + 4 + 4;

/// The bit among a mark's flags that says "begins with a keyframe".
const MARK_KEY: u32 = 1;

/// The bytes of an entry in the index: wall clock after the segment's start, duration, offset, length and flag.
const ENTRY_BYTES: usize = 16;

/// The bit of an entry's length that says "begins with a keyframe".
const ENTRY_KEY: u32 = 1 << 31;

/// No box of ours before the first fragment is longer: `ftyp` and `moov` have about 700 bytes.
const INIT_BYTES_MAX: u64 = 64 * 1024;

/// Ticks per millisecond.
const TICKS_PER_MS: u64 = 90;

/// Where a fragment lies in its file, and in time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    pub(super) wall_ms: i64,
    pub(super) duration_ms: u32,
    /// Of the `moof`, behind our box.
    pub(super) offset: u32,
    /// Of `moof` and `mdat`.
    pub(super) bytes: u32,
    pub(super) key: bool,
}

impl Entry {
    pub(super) const fn end_ms(&self) -> i64 {
        self.wall_ms.saturating_add(self.duration_ms as i64)
    }
}

/// The index of a segment as it is kept.
pub(super) fn encode_entries(start_ms: i64, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        let after_ms = u32::try_from(entry.wall_ms.saturating_sub(start_ms)).unwrap_or(0);
        let flag = if entry.key { ENTRY_KEY } else { 0 };
        for word in [after_ms, entry.duration_ms, entry.offset, entry.bytes | flag] {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
    }
    bytes
}

/// Reads an index back. Bytes that are none are an empty one.
pub(super) fn decode_entries(start_ms: i64, bytes: &[u8]) -> Vec<Entry> {
    let (entries, rest) = bytes.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return Vec::new();
    }
    let word = |entry: &[u8; ENTRY_BYTES], i: usize| {
        u32::from_be_bytes([entry[4 * i], entry[4 * i + 1], entry[4 * i + 2], entry[4 * i + 3]])
    };
    let read = |entry| Entry {
        wall_ms: start_ms.saturating_add(word(entry, 0).into()),
        duration_ms: word(entry, 1),
        offset: word(entry, 2),
        bytes: word(entry, 3) & !ENTRY_KEY,
        key: word(entry, 3) & ENTRY_KEY != 0,
    };
    entries.iter().map(read).collect()
}

/// Pictures with their sound as one fragment; the last one lasts until `end_90k`.
pub(in crate::camera) fn mux(
    frames: &[Arc<Frame>],
    end_90k: u64,
    sequence: u32,
    decode_90k: u64,
) -> Result<Vec<u8>, mp4::Mp4Error> {
    let ends = frames.iter().skip(1).map(|frame| frame.decode_90k).chain([end_90k]);
    let samples: Vec<Sample<'_>> = frames
        .iter()
        .zip(ends)
        .map(|(frame, end_90k)| Sample {
            data: &frame.data,
            duration_90k: u32::try_from(end_90k.saturating_sub(frame.decode_90k)).unwrap_or(u32::MAX),
            composition_90k: frame.composition_90k,
            key: frame.key,
        })
        .collect();
    let sound: Vec<_> = frames.iter().flat_map(|frame| &frame.sound).collect();
    let first_90k = frames.first().map_or(0, |frame| frame.decode_90k);
    let early_90k = sound.first().map_or(0, |piece| piece.decode_90k.cast_signed() - first_90k.cast_signed());
    let sound: Vec<_> =
        sound.iter().map(|piece| SoundSample { data: &piece.data, duration_90k: piece.duration_90k }).collect();
    mp4::fragment_with_sound(sequence, decode_90k, &samples, decode_90k.cast_signed() + early_90k, &sound)
}

/// When the first of these pictures was captured, as is known at the last: what came in a burst is known to be older then.
pub(in crate::camera) fn begin_ms(frames: &[Arc<Frame>]) -> Option<i64> {
    let (first, last) = (frames.first()?, frames.last()?);
    let lasted_ms = i64::try_from(last.decode_90k.saturating_sub(first.decode_90k) / TICKS_PER_MS).unwrap_or(i64::MAX);
    Some(first.captured_ms.min(last.captured_ms.saturating_sub(lasted_ms)))
}

/// How long pictures last, in milliseconds.
pub(in crate::camera) fn duration_ms(frames: &[Arc<Frame>], end_90k: u64) -> u32 {
    let begin_90k = frames.first().map_or(end_90k, |frame| frame.decode_90k);
    u32::try_from(end_90k.saturating_sub(begin_90k) / TICKS_PER_MS).unwrap_or(u32::MAX)
}

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct SegmentFile {
    file: File,
    /// Where the last whole fragment ends.
    bytes: u64,
    base_90k: u64,
    sequence: u32,
}

impl SegmentFile {
    /// Begins a file with what a decoder must know.
    pub(super) fn create(path: &Path, track: &Track, base_90k: u64) -> io::Result<Self> {
        let init = mp4::init_segment(track).map_err(io::Error::other)?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(&init)?;
        Ok(Self { file, bytes: init.len() as u64, base_90k, sequence: 0 })
    }

    /// How long the file is.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Appends pictures, captured from `begin_ms` on, in one write. What an error left behind is cut off.
    pub(super) fn append(&mut self, frames: &[Arc<Frame>], begin_ms: i64, end_90k: u64) -> io::Result<Entry> {
        let first = frames.first().ok_or(io::ErrorKind::InvalidInput)?;
        let decode_90k = first.decode_90k.saturating_sub(self.base_90k);
        let fragment = mux(frames, end_90k, self.sequence + 1, decode_90k).map_err(io::Error::other)?;
        let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let entry = Entry {
            wall_ms: begin_ms,
            duration_ms: duration_ms(frames, end_90k),
            offset: u32::try_from(self.bytes + MARK_BYTES as u64).map_err(too_long)?,
            bytes: u32::try_from(fragment.len()).map_err(too_long)?,
            key: first.key,
        };
        let mark = mark(&entry);
        let written = write_both(&mut self.file, &mark, &fragment);
        if let Err(error) = written {
            // If this fails, too, the recovery after the next start cuts it off.
            let _ = self.file.set_len(self.bytes);
            let _ = self.file.seek(SeekFrom::Start(self.bytes));
            return Err(error);
        }
        self.bytes += (MARK_BYTES + fragment.len()) as u64;
        self.sequence += 1;
        Ok(entry)
    }

    /// Waits until everything is on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// One system call where the system takes it whole, which it does unless the disk is full.
fn write_both(file: &mut File, mark: &[u8], fragment: &[u8]) -> io::Result<()> {
    let written = file.write_vectored(&[io::IoSlice::new(mark), io::IoSlice::new(fragment)])?;
    if written < mark.len() {
        file.write_all(&mark[written..])?;
    }
    file.write_all(&fragment[written.saturating_sub(mark.len())..])
}

fn mark(entry: &Entry) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark[..4].copy_from_slice(&(MARK_BYTES as u32).to_be_bytes());
    mark[4..8].copy_from_slice(b"uuid");
    mark[8..24].copy_from_slice(&MARK_UUID);
    mark[24..32].copy_from_slice(&entry.wall_ms.to_be_bytes());
    mark[32..36].copy_from_slice(&entry.duration_ms.to_be_bytes());
    mark[36..40].copy_from_slice(&u32::from(entry.key).to_be_bytes());
    mark
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) entries: Vec<Entry>,
    /// Where the last whole fragment ends.
    pub(super) bytes: u64,
}

/// Reads a file's index back from the file, and cuts off what is not whole.
pub(super) fn recover(path: &Path) -> io::Result<Recovered> {
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    let recovered = scan(&file, length)?;
    if recovered.bytes < length {
        file.set_len(recovered.bytes)?;
    }
    Ok(recovered)
}

fn scan(file: &File, length: u64) -> io::Result<Recovered> {
    let mut entries = Vec::new();
    let (mut at, mut whole) = (0, 0);
    // What comes before the first mark is the init segment.
    while at < INIT_BYTES_MAX
        && let Some((kind, bytes)) = box_at(file, at, length)?
        && kind != *b"uuid"
    {
        at += bytes;
        whole = at;
    }
    while let Some(mut entry) = mark_at(file, at, length)? {
        let moof_at = at + MARK_BYTES as u64;
        let Some((kind, moof_bytes)) = box_at(file, moof_at, length)? else { break };
        let Some((next_kind, mdat_bytes)) = box_at(file, moof_at + moof_bytes, length)? else { break };
        let (Ok(offset), Ok(bytes)) = (u32::try_from(moof_at), u32::try_from(moof_bytes + mdat_bytes)) else { break };
        if kind != *b"moof" || next_kind != *b"mdat" {
            break;
        }
        (entry.offset, entry.bytes) = (offset, bytes);
        entries.push(entry);
        at = moof_at + moof_bytes + mdat_bytes;
        whole = at;
    }
    Ok(Recovered { entries, bytes: whole })
}

/// Kind and length of the box at an offset, if it lies in the file whole.
fn box_at(file: &File, at: u64, length: u64) -> io::Result<Option<([u8; 4], u64)>> {
    if at + 8 > length {
        return Ok(None);
    }
    let mut header = [0; 8];
    file.read_exact_at(&mut header, at)?;
    let (bytes, kind) = header.split_first_chunk::<4>().expect("a header has eight bytes");
    let bytes = u64::from(u32::from_be_bytes(*bytes));
    let kind = kind.try_into().expect("a header has eight bytes");
    Ok((bytes >= 8 && at + bytes <= length).then_some((kind, bytes)))
}

fn mark_at(file: &File, at: u64, length: u64) -> io::Result<Option<Entry>> {
    if at + MARK_BYTES as u64 > length {
        return Ok(None);
    }
    let mut mark = [0; MARK_BYTES];
    file.read_exact_at(&mut mark, at)?;
    if mark[..4] != (MARK_BYTES as u32).to_be_bytes() || &mark[4..8] != b"uuid" || mark[8..24] != MARK_UUID {
        return Ok(None);
    }
    let wall_ms = i64::from_be_bytes(mark[24..32].try_into().expect("eight bytes"));
    let duration_ms = u32::from_be_bytes(mark[32..36].try_into().expect("four bytes"));
    let flags = u32::from_be_bytes(mark[36..40].try_into().expect("four bytes"));
    Ok(Some(Entry { wall_ms, duration_ms, offset: 0, bytes: 0, key: flags & MARK_KEY != 0 }))
}

/// What a decoder must know, from the front of a file whose first entry is given.
pub(super) fn read_init(file: &mut File, first: &Entry) -> io::Result<Vec<u8>> {
    let bytes = u64::from(first.offset).checked_sub(MARK_BYTES as u64).filter(|bytes| *bytes <= INIT_BYTES_MAX);
    let bytes = bytes.ok_or(io::ErrorKind::InvalidData)?;
    let mut init = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(bytes).read_to_end(&mut init)?;
    Ok(init)
}

/// `moof` and `mdat` of an entry.
pub(super) fn read_fragment(file: &File, entry: &Entry) -> io::Result<Vec<u8>> {
    let mut fragment = vec![0; entry.bytes as usize];
    file.read_exact_at(&mut fragment, entry.offset.into())?;
    Ok(fragment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::camera::testing::{frames, track};
    use crate::testing::TempDir;

    fn written(path: &Path, groups: u64) -> (Vec<Entry>, u64) {
        let track = track();
        let mut file = SegmentFile::create(path, &track, 1_000).unwrap();
        let mut entries = Vec::new();
        for group in 0..groups {
            let frames = frames(&track, group * 25..(group + 1) * 25, 25);
            let begin_ms = begin_ms(&frames).unwrap();
            entries.push(file.append(&frames, begin_ms, 1_000 + (group + 1) * 25 * 3_600).unwrap());
        }
        (entries, file.bytes())
    }

    #[test]
    fn a_file_explains_itself() {
        let dir = TempDir::new("segment");
        let path = dir.path().join("a.mp4");
        let (entries, bytes) = written(&path, 4);
        let recovered = recover(&path).unwrap();
        assert_eq!((recovered.entries.clone(), recovered.bytes), (entries, bytes));
        assert_eq!(recovered.entries[1].wall_ms - recovered.entries[0].wall_ms, 1_000);
        assert_eq!(recovered.entries[0].duration_ms, 1_000);
    }

    #[test]
    fn cut_anywhere_it_is_whole_up_to_the_last_fragment_and_no_more_is_lost() {
        let dir = TempDir::new("segment-cut");
        let path = dir.path().join("a.mp4");
        let (entries, bytes) = written(&path, 3);
        let whole = std::fs::read(&path).unwrap();
        for cut in (0..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let recovered = recover(&path).unwrap();
            let expected: Vec<_> =
                entries.iter().filter(|entry| (entry.offset + entry.bytes) as usize <= cut).copied().collect();
            assert_eq!(recovered.entries, expected, "cut at {cut} of {bytes}");
            assert_eq!(std::fs::metadata(&path).unwrap().len(), recovered.bytes, "cut at {cut}");
        }
    }

    #[test]
    fn zeros_and_garbage_behind_the_last_fragment_are_cut_off() {
        let dir = TempDir::new("segment-garbage");
        let path = dir.path().join("a.mp4");
        let (entries, bytes) = written(&path, 2);
        for garbage in [vec![0; 5_000], vec![0xff; 5_000], b"\0\0\0\x28uuid".repeat(100)] {
            let mut file = OpenOptions::new().append(true).open(&path).unwrap();
            file.write_all(&garbage).unwrap();
            let recovered = recover(&path).unwrap();
            assert_eq!((&recovered.entries, recovered.bytes), (&entries, bytes));
        }
        std::fs::write(&path, b"no film at all").unwrap();
        assert!(recover(&path).unwrap().entries.is_empty());
    }

    #[test]
    fn the_index_survives_being_written_and_read() {
        let entries = [
            Entry { wall_ms: 1_000, duration_ms: 2_000, offset: 700, bytes: 5, key: true },
            Entry { wall_ms: 3_000, duration_ms: 1, offset: 800, bytes: 0x7fff_ffff, key: false },
        ];
        let bytes = encode_entries(1_000, &entries);
        assert_eq!(decode_entries(1_000, &bytes), entries);
        assert!(decode_entries(0, &bytes[1..]).is_empty());
    }

    #[test]
    fn players_read_it() {
        let dir = TempDir::new("segment-play");
        let path = dir.path().join("a.mp4");
        let (entries, _) = written(&path, 2);
        let bytes = std::fs::read(&path).unwrap();
        let (read, _) = mp4::read_init(&bytes).unwrap();
        assert_eq!(read, *track());
        let fragments: Vec<_> = mp4::fragments(&bytes).map(|fragment| fragment.unwrap().duration_90k).collect();
        assert_eq!(fragments, [90_000, 90_000]);
        let mut file = File::open(&path).unwrap();
        assert_eq!(read_init(&mut file, &entries[0]).unwrap(), mp4::init_segment(&track()).unwrap());
        assert_eq!(&read_fragment(&file, &entries[1]).unwrap()[4..8], b"moof");
    }
}
