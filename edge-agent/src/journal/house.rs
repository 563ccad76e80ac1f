//! Keeping house, between commits: acknowledged entries go after a while, the space is measured, routine entries are thinned,
//! the reserve is filled again.

use tongluo_protocols::event::{Event, Thinned};
use tongluo_protocols::id::{Lane, Sequence, StreamKey};
use tongluo_protocols::link::STREAMS_MAX;

use super::Stream;
use super::space::{BLOCK_BYTES, Measure};
use super::writer::Writer;

/// How long an event's own id is remembered: longer than any network server repeats it.
const SOURCES_KEPT_MS: i64 = 24 * 60 * 60 * 1000;

/// How many such ids are remembered: a county's worth of presses in a village, at some 100 bytes each.
const SOURCES_MAX: i64 = 10_000;

/// How many entries of the hub's are kept, of kinds that this program does not know.
const RECEIVED_MAX: i64 = 10_000;

/// Free pages that are kept in stock, so that a commit rarely has to wait for the disk to give more: some two thousand presses.
const STOCK_BYTES_MIN: u64 = 512 * 1024;

/// How many entries one step drops, so that a press never waits long for housekeeping.
const TRIM_STEP: u64 = 2_000;

/// How many such steps are made in one go.
const TRIM_STEPS_MAX: u32 = 16;

impl Writer {
    /// Everything that needs to be looked at now and then. Each step is a short transaction of its own.
    pub(super) fn keep_house(&mut self) {
        self.write_lazy();
        let result = self.bound();
        if let Err(error) = result {
            self.trouble("keep house", &error);
        }
        self.measure();
        for _ in 0..TRIM_STEPS_MAX {
            if self.space.measure() == Measure::None || !self.make_room() {
                break;
            }
            self.measure();
        }
        if let Err(error) = self.fill_reserve() {
            self.trouble("take space from the disk", &error);
        }
        self.measure();
        self.shelf.measure(self.space.bytes_used(), self.space.budget_bytes());
    }

    /// Says it when routine entries are refused from now on, or welcome again.
    pub(super) fn judge_space(&mut self) {
        if let Some(refusing) = self.space.judge(self.disk_is_full) {
            self.tell_full(refusing);
        }
    }

    /// Drops what has been kept for long enough.
    fn bound(&mut self) -> rusqlite::Result<()> {
        let now_ms = self.clock.utc_ms();
        self.store.bound_sources(now_ms.saturating_sub(SOURCES_KEPT_MS), SOURCES_MAX)?;
        self.store.bound_received(RECEIVED_MAX)?;
        let kept_ms = i64::from(self.config.acked_days) * 24 * 60 * 60 * 1000;
        for stream in self.shelf.streams().iter().filter(|stream| stream.acked >= stream.oldest) {
            let Some(row) = self.row(stream.key) else { continue };
            let through = self.store.last_acked_before(row, now_ms.saturating_sub(kept_ms))?;
            if through >= stream.oldest {
                self.trim(stream, through)?;
            }
        }
        // Of more streams than a beat can list, the oldest that are fully acknowledged go.
        let streams = self.shelf.streams();
        let surplus = streams.len().saturating_sub(STREAMS_MAX);
        let finished: Vec<_> = streams
            .iter()
            .filter(|stream| stream.pending() == 0 && !self.is_current(stream.key))
            .take(surplus)
            .collect();
        for stream in finished {
            self.trim(stream, stream.head)?;
        }
        Ok(())
    }

    /// Drops the oldest acknowledged entries, or else thins the oldest routine ones. Answers whether there was anything to drop.
    fn make_room(&mut self) -> bool {
        let streams = self.shelf.streams();
        let acked = streams.iter().find(|stream| stream.acked >= stream.oldest);
        let routine = || streams.iter().find(|stream| stream.key.lane == Lane::Routine && stream.oldest <= stream.head);
        let result = match (acked, routine()) {
            (Some(stream), _) => self.trim(stream, stream.acked.min(stream.oldest + TRIM_STEP - 1)),
            (None, Some(stream)) => self.thin(stream, stream.head.min(stream.oldest + TRIM_STEP - 1)),
            (None, None) => return false,
        };
        if let Err(error) = &result {
            self.trouble("make room", error);
        }
        result.is_ok()
    }

    /// Drops routine entries that the hub has not got, and says so.
    fn thin(&mut self, stream: &Stream, through: Sequence) -> rusqlite::Result<()> {
        let Some(row) = self.row(stream.key) else { return Ok(()) };
        let dropped = self.store.kinds_up_to(row, stream, through)?;
        self.trim(stream, through)?;
        for run in dropped {
            tracing::warn!(
                journal.kind = run.kind,
                journal.count = run.count,
                "routine entries were thinned: the journal is full"
            );
            let thinned =
                Thinned { epoch: run.key.epoch, from: run.from, to: run.to, kind: run.kind, count: run.count };
            self.write_own(Thinned::KIND, crate::event_body(&Event::Thinned(thinned)));
        }
        Ok(())
    }

    /// Drops a stream's entries up to and with `through`, and the stream with its last entry, unless it still grows.
    fn trim(&mut self, stream: &Stream, through: Sequence) -> rusqlite::Result<()> {
        let Some(row) = self.row(stream.key) else { return Ok(()) };
        let key = stream.key;
        let forget = through >= stream.head && !self.is_current(key);
        self.store.begin()?;
        let work = if forget { self.store.forget_stream(row) } else { self.store.trim(row, through, stream.head) };
        if let Err(error) = work.and_then(|()| self.store.commit()) {
            self.store.rollback();
            return Err(error);
        }
        if forget {
            self.rows.retain(|(of, _)| *of != key);
        }
        self.shelf.change(|streams| {
            if forget {
                streams.retain(|stream| stream.key != key);
            } else if let Some(stream) = streams.iter_mut().find(|stream| stream.key == key) {
                stream.oldest = stream.oldest.max(through + 1);
            }
        });
        Ok(())
    }

    fn measure(&mut self) {
        match self.store.bytes_used() {
            Ok(bytes) => self.space.measured(bytes),
            Err(error) => self.trouble("measure itself", &error),
        }
    }

    /// Adds one missing block to the reserve. One at a time: a press that arrives meanwhile waits for one at most. While the
    /// disk is full, each round tries again.
    fn fill_reserve(&mut self) -> rusqlite::Result<()> {
        if !self.keep_stock()? || !(self.space.wants_block() || self.disk_is_full) {
            return Ok(());
        }
        let grown = self.store.grow(BLOCK_BYTES)?;
        self.disk_is_full = !grown;
        self.space.reserved(self.store.reserve_blocks()?);
        if grown {
            // While the reserve is being filled, house is kept again at once.
            self.hurry_housekeeping();
        }
        Ok(())
    }

    /// Sees to it that the next commits find free pages. `false`: the disk is full.
    pub(super) fn keep_stock(&mut self) -> rusqlite::Result<bool> {
        if self.store.bytes_free()? >= STOCK_BYTES_MIN { Ok(true) } else { self.stock_up(1) }
    }

    /// Takes blocks of the disk for the next commits. `false`: the disk is full.
    pub(super) fn stock_up(&mut self, blocks: u32) -> rusqlite::Result<bool> {
        let grown = self.store.stock_up(BLOCK_BYTES, u64::from(blocks) * u64::from(BLOCK_BYTES))?;
        self.disk_is_full = !grown;
        Ok(grown)
    }

    fn row(&self, key: StreamKey) -> Option<i64> {
        self.rows.iter().find(|(of, _)| *of == key).map(|(_, row)| *row)
    }

    fn is_current(&self, key: StreamKey) -> bool {
        self.current.iter().any(|current| current.key == key)
    }
}
