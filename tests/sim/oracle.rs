//! What must hold, whatever happens. The oracle remembers what no crash can take from it, and shares no rule with the link.

use std::collections::{BTreeMap, BTreeSet};

use tongluo_protocols::id::{Lane, Sequence, StreamKey};
use tongluo_protocols::link::Ack;

use super::Summary;
use super::disk::{Disk, Ledger, Stream};

/// A site, and whether it is its hub that writes.
pub(super) type Direction = (usize, bool);

/// How long an unanswered routine batch keeps its lane at least.
const RESEND_MS_MIN: u64 = 2_000;

#[derive(Default)]
pub(super) struct Oracle {
    /// What was ever committed at each place, and is to be found there for ever.
    places: BTreeMap<(Direction, StreamKey, Sequence), Vec<u8>>,
    /// Where each content was committed.
    committed: BTreeMap<(Direction, u64), (StreamKey, Sequence)>,
    /// What somebody was promised.
    confirmed: BTreeSet<(Direction, u64)>,
    /// Ends whose disk was lost or put back.
    destroyed: BTreeSet<Direction>,
    /// Sites of which there was more than one gateway.
    cloned: BTreeSet<usize>,
    violation: Option<String>,
}

impl Oracle {
    pub(super) fn violation(&self) -> Option<&String> {
        self.violation.as_ref()
    }

    pub(super) fn judge(&mut self, judgement: Result<(), String>) {
        if let Err(violation) = judgement {
            self.violation.get_or_insert(violation);
        }
    }

    pub(super) fn committed(
        &mut self,
        direction: Direction,
        content: u64,
        key: StreamKey,
        sequence: Sequence,
        body: Vec<u8>,
    ) {
        self.committed.insert((direction, content), (key, sequence));
        if self.places.insert((direction, key, sequence), body.clone()).is_some_and(|before| before != body) {
            self.judge(Err(format!("{key:?} {sequence} was used for two contents")));
        }
    }

    pub(super) fn confirmed(&mut self, direction: Direction, content: u64) {
        self.confirmed.insert((direction, content));
    }

    pub(super) fn destroyed(&mut self, direction: Direction) {
        self.destroyed.insert(direction);
    }

    pub(super) fn cloned(&mut self, site: usize) {
        self.cloned.insert(site);
    }

    /// An ack says what is on the disk, and nothing that is only on its way there.
    pub(super) fn check_ack(&mut self, bytes: &[u8], ledger: &Ledger) {
        let judgement = match Ack::parse(bytes) {
            Ok(ack) if ack.committed <= ledger.watermark(ack.key) => Ok(()),
            ack => Err(format!("{ack:?} says more than is committed")),
        };
        self.judge(judgement);
    }

    /// A ledger holds what was written, once, in order; and what it does not hold it says to be lost.
    pub(super) fn check_ledger(&mut self, written_by: Direction, ledger: &Ledger) {
        let judgement = self.ledger_holds(written_by, ledger);
        self.judge(judgement);
    }

    fn ledger_holds(&self, written_by: Direction, ledger: &Ledger) -> Result<(), String> {
        let mut spans: BTreeMap<StreamKey, Vec<(Sequence, Sequence)>> = BTreeMap::new();
        for row in &ledger.rows {
            let of_stream = spans.entry(row.key).or_default();
            if of_stream.last().is_some_and(|(_, before)| *before >= row.sequence) {
                return Err(format!("{:?} {} was applied twice, or out of order", row.key, row.sequence));
            }
            of_stream.push((row.sequence, row.sequence));
            if self.places.get(&(written_by, row.key, row.sequence)) != Some(&row.body) {
                return Err(format!("{:?} {} is not what was written there", row.key, row.sequence));
            }
        }
        for (key, lost) in &ledger.lost {
            spans.entry(*key).or_default().push((lost.from, lost.to));
        }
        for (key, watermark) in &ledger.watermarks {
            let of_stream = spans.entry(*key).or_default();
            of_stream.sort_unstable();
            let covered = of_stream.iter().try_fold(0, |end, (from, to)| (*from == end + 1).then_some(*to));
            if covered != Some(*watermark) {
                return Err(format!(
                    "rows and losses of {key:?} do not cover 1 to {watermark} once each: {of_stream:?}"
                ));
            }
        }
        Ok(())
    }

    /// After the network has healed and time has passed: everything that was confirmed is where it belongs, or is accounted
    /// for, and nothing waits.
    pub(super) fn check_end(
        &mut self,
        written_by: Direction,
        journals: &[&Disk],
        ledger: &Ledger,
        summary: &mut Summary,
    ) {
        self.check_ledger(written_by, ledger);
        let judgement = self.all_accounted_for(written_by, journals, ledger, summary);
        self.judge(judgement);
        for stream in journals.iter().flat_map(|disk| &disk.journal.streams) {
            if stream.acked != stream.state.head {
                let (state, acked) = (stream.state, stream.acked);
                self.judge(Err(format!("{state:?} waits for ever: it is acked to {acked}")));
            }
        }
    }

    fn all_accounted_for(
        &self,
        written_by: Direction,
        journals: &[&Disk],
        ledger: &Ledger,
        summary: &mut Summary,
    ) -> Result<(), String> {
        let (site, by_hub) = written_by;
        let rows: BTreeSet<_> = ledger.rows.iter().map(|row| (row.key, row.sequence)).collect();
        let is_held = |key, sequence| journals.iter().any(|disk: &&Disk| disk.journal.holds(key, sequence));
        let was_restored = self.destroyed.contains(&(site, !by_hub));
        let has_many_images = self.destroyed.contains(&written_by) || self.is_cloned(site);
        let may_be_lost = was_restored || has_many_images;
        for (_, content) in self.confirmed.range((written_by, 0)..=(written_by, u64::MAX)) {
            summary.confirmed += 1;
            let Some((key, sequence)) = self.committed.get(&(written_by, *content)).copied() else {
                return Err(format!("content {content} was confirmed and is nowhere"));
            };
            let watermark = ledger.watermark(key);
            let what = format!("{key:?} {sequence} was confirmed, the ledger stands at {watermark}");
            if rows.contains(&(key, sequence)) {
                continue;
            }
            // One image of the disk said that it had dropped the entry, which another image still holds.
            let was_written_off = sequence <= watermark && was_restored && has_many_images;
            if is_held(key, sequence) && !was_written_off {
                return Err(format!("{what}, is still on a disk, and never came"));
            }
            if !may_be_lost {
                return Err(format!("{what}, no disk was destroyed, and it is lost"));
            }
            let missing = ledger.missing.get(&key);
            if sequence <= watermark || missing.is_some_and(|m| (m.from..=m.to).contains(&sequence)) {
                summary.lost += 1;
            } else if sequence <= ledger.heard.get(&key).copied().unwrap_or(0) {
                return Err(format!("{what}, its disk is gone, the hub had heard of it, and does not miss it"));
            } else {
                summary.unheard += 1;
            }
        }
        for (key, missing) in &ledger.missing {
            let first =
                journals.iter().filter_map(|disk| disk.journal.find(*key)).map(|stream| stream.state.head).max();
            let from = ledger.watermark(*key).max(first.unwrap_or(0)) + 1;
            if (missing.from, Some(&missing.to)) != (from, ledger.heard.get(key)) {
                return Err(format!("{missing:?} of {key:?} is not exactly what is missing"));
            }
        }
        let held_and_lost = ledger.lost.iter().find(|(key, lost)| (lost.from..=lost.to).any(|at| is_held(*key, at)));
        match held_and_lost {
            Some((key, lost)) if !may_be_lost => Err(format!("{lost:?} of {key:?} is said of what a disk still holds")),
            _ => Ok(()),
        }
    }

    pub(super) fn is_cloned(&self, site: usize) -> bool {
        self.cloned.contains(&site)
    }
}

/// Watches what one sender publishes, with its own count of what is in flight.
pub(super) struct Watch {
    urgent_window_entries: u64,
    /// Up to where each stream was published on this connection.
    sent: BTreeMap<StreamKey, Sequence>,
    /// Up to where the receiver says that it has each stream.
    acked: BTreeMap<StreamKey, Sequence>,
    /// The routine batch in flight: its stream, its last entry, since when it is out.
    routine: Option<(StreamKey, Sequence, Option<u64>)>,
}

impl Watch {
    pub(super) fn new(urgent_window_entries: u64) -> Self {
        Self { urgent_window_entries, sent: BTreeMap::new(), acked: BTreeMap::new(), routine: None }
    }

    pub(super) fn connected(&mut self) {
        self.sent.clear();
        self.routine = None;
    }

    pub(super) fn acked(&mut self, ack: &Ack) {
        let acked = self.acked.entry(ack.key).or_default();
        *acked = if ack.gap { ack.committed } else { ack.committed.max(*acked) };
        self.routine.take_if(|(key, through, _)| *key == ack.key && (ack.gap || ack.committed >= *through));
    }

    /// Storage dropped the stream: it takes no place in its lane any more.
    pub(super) fn forgotten(&mut self, key: StreamKey) {
        self.routine.take_if(|(other, ..)| *other == key);
    }

    /// A batch with entries is begun.
    pub(super) fn begins(
        &mut self,
        now_ms: u64,
        key: StreamKey,
        through: Sequence,
        streams: &[Stream],
    ) -> Result<(), String> {
        let sent = self.sent.entry(key).or_default();
        *sent = through.max(*sent);
        if key.lane == Lane::Urgent {
            return Ok(());
        }
        let before = self.routine.replace((key, through, None));
        if let Some((other, last, out_ms)) = before
            && out_ms.is_none_or(|out_ms| now_ms < out_ms + RESEND_MS_MIN)
        {
            return Err(format!("a second routine batch follows {other:?} {last}, which is in flight"));
        }
        // A gap that the machine takes to be mended already may look like entries which were not sent: those that the disk
        // has marked as acked do not count.
        let acked = |stream: &Stream| self.acked.get(&stream.state.key).copied().unwrap_or(stream.acked);
        let sent = |stream: &Stream| self.sent.get(&stream.state.key).copied().unwrap_or(0).max(stream.acked);
        let urgent = || streams.iter().filter(|stream| stream.state.key.lane == Lane::Urgent);
        let in_flight: u64 = urgent().map(|stream| sent(stream).saturating_sub(acked(stream))).sum();
        match urgent().find(|stream| stream.state.head > sent(stream)) {
            Some(stream) if in_flight < self.urgent_window_entries => {
                Err(format!("a routine batch is begun before {:?}, which was not sent", stream.state))
            }
            _ => Ok(()),
        }
    }

    /// The batch is out.
    pub(super) fn is_out(&mut self, now_ms: u64, key: StreamKey, through: Sequence) {
        if let Some((_, _, out_ms)) = self.routine.as_mut().filter(|(other, last, _)| (*other, *last) == (key, through))
        {
            *out_ms = Some(now_ms);
        }
    }
}
