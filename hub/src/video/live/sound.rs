//! The sound of a live stream, from the gateway's time line to the viewers'.
//!
//! Pieces wait for the picture that they belong to and are moved with it. Where a hole was taken out of the pictures' time the
//! sound of that hole is taken out as well. Browsers throw away pictures where sound steps, so what nearly follows the piece
//! before it is made to follow it.

/// Pieces that wait for one picture: the gateway gives a picture no more.
const PIECES_MAX: usize = 1_000;

/// … and their bytes. Beyond either all of them are left out.
const BYTES_MAX: usize = 512 * 1024;

/// A piece of sound that waits for its picture.
#[derive(Debug)]
pub(super) struct Piece {
    decode_90k: u64,
    pub(super) duration_90k: u32,
    pub(super) data: Vec<u8>,
}

/// The sound of one upload.
#[derive(Debug, Default)]
pub(super) struct SoundLine {
    waiting: Vec<Piece>,
    waiting_bytes: usize,
    /// Where the viewers' sound ends.
    end_90k: Option<i64>,
}

impl SoundLine {
    /// Takes a piece that the gateway places at `decode_90k`.
    pub(super) fn push(&mut self, decode_90k: u64, duration_90k: u32, data: &[u8]) {
        self.waiting_bytes += data.len();
        if self.waiting.len() == PIECES_MAX || self.waiting_bytes > BYTES_MAX {
            self.forget();
        } else {
            self.waiting.push(Piece { decode_90k, duration_90k, data: data.to_vec() });
        }
    }

    /// What goes with a picture that the gateway places at `decode_90k` and the viewers at `placed_90k`, and where it begins.
    pub(super) fn with_picture(&mut self, decode_90k: u64, placed_90k: u64) -> (i64, Vec<Piece>) {
        let moved_90k = placed_90k.cast_signed().saturating_sub(decode_90k.cast_signed());
        let at = |piece: &Piece| piece.decode_90k.cast_signed().saturating_add(moved_90k);
        let mut pieces = std::mem::take(&mut self.waiting);
        self.waiting_bytes = 0;
        let heard = |piece: &Piece| self.end_90k.is_some_and(|end| at(piece) < end - i64::from(piece.duration_90k / 2));
        let over = pieces.iter().take_while(|piece| heard(piece)).count();
        pieces.drain(..over);
        let Some(first) = pieces.first() else { return (placed_90k.cast_signed(), pieces) };
        let near = |end: &i64| (at(first) - end).abs() <= i64::from(first.duration_90k);
        let begins_90k = self.end_90k.filter(near).unwrap_or_else(|| at(first));
        let length_90k: i64 = pieces.iter().map(|piece| i64::from(piece.duration_90k)).sum();
        self.end_90k = Some(begins_90k.saturating_add(length_90k));
        (begins_90k, pieces)
    }

    /// The picture that it belonged to is not passed on.
    pub(super) fn forget(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = 3_600;

    #[test]
    fn it_moves_with_the_pictures_and_has_no_steps() {
        let mut line = SoundLine::default();
        let mut end = None;
        for i in 0..100 {
            line.push((i + 9) * FRAME, 3_600, b"piece");
            // The pictures' line wavers, as one does that takes holes out.
            let (begins, pieces) = line.with_picture((i + 10) * FRAME, 90_000 + i * FRAME + i % 3);
            assert_eq!(pieces.len(), 1);
            assert!(end.is_none_or(|end| end == begins), "a step at {i}");
            end = Some(begins + 3_600);
        }
        assert_eq!(end, Some(90_000 + 99 * 3_600));
    }

    #[test]
    fn a_hole_that_was_taken_out_of_the_pictures_is_taken_out_of_the_sound() {
        let mut line = SoundLine::default();
        line.push(10_000, 3_600, b"before");
        let (_, pieces) = line.with_picture(13_600, 90_000);
        assert_eq!(pieces.len(), 1);
        for i in 0..50 {
            line.push(13_600 + i * 3_600, 3_600, b"meanwhile");
        }
        // Two seconds without a picture, shown as a fifth of one.
        let (begins, pieces) = line.with_picture(13_600 + 180_000, 108_000);
        assert_eq!((begins, pieces.len()), (90_000, 5));
    }

    #[test]
    fn a_hole_in_both_stays_and_floods_are_left_out() {
        let mut line = SoundLine::default();
        line.push(0, 1_800, b"a");
        line.with_picture(3_600, 90_000);
        line.push(900_000, 1_800, b"b");
        assert_eq!(line.with_picture(903_600, 993_600).0, 990_000);
        for i in 0..5_000 {
            line.push(i, 1, &[0; 600]);
            assert!(line.waiting.len() <= PIECES_MAX && line.waiting_bytes <= BYTES_MAX);
        }
        line.push(u64::MAX, u32::MAX, b"nonsense");
        line.with_picture(0, u64::MAX);
        line.push(0, u32::MAX, b"nonsense");
        line.with_picture(u64::MAX, 0);
    }
}
