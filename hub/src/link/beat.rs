//! What heartbeats say about journals: which are ahead of the ledger, and which nobody holds any more.
//!
//! Both findings wait for a second heartbeat of the same run. What the first one announced may still be on its way, and a
//! straggler of an earlier run may come after the first of the next.

use std::collections::HashMap;

use sqlx::AnyConnection;
use tongluo_protocols::event::{Beat, StreamState};
use tongluo_protocols::id::StreamKey;
use tongluo_protocols::link::{Ack, Lost, Receiver};

use super::store::{self, JournalKey, Watermark};
use super::take::{Lateness, Place, lost_report};
use crate::fault;
use crate::fleet::presence;
use crate::ids::{RegionCode, SiteId};
use crate::live::Draft;
use crate::store::Writes;

/// What the previous heartbeat of each site said.
#[derive(Debug, Default)]
pub(super) struct Beats(HashMap<SiteId, LastBeat>);

#[derive(Clone, Debug)]
struct LastBeat {
    boot_id: u64,
    uptime_ms: u64,
    streams: Vec<StreamState>,
    /// Whether this run has been looked through for what the disks before it took along.
    was_searched: bool,
}

/// What to do after a heartbeat.
#[derive(Debug, Default, PartialEq, Eq)]
struct Finding {
    /// Heads that were not known.
    heads: Vec<(StreamKey, Watermark)>,
    /// Asks to send again.
    asks: Vec<Ack>,
    /// What no disk holds any more.
    lost: Vec<(StreamKey, Lost)>,
}

impl Beats {
    /// Compares a heartbeat with the one before it and with the ledger.
    fn compare(&mut self, site_id: &SiteId, beat: &Beat<'_>, known: &HashMap<StreamKey, Watermark>) -> Finding {
        let streams: Vec<StreamState> = beat.streams.iter().collect();
        let last = self.0.remove(site_id).filter(|last| last.boot_id == beat.boot_id.get());
        if let Some(last) = last.as_ref().filter(|last| last.uptime_ms >= beat.uptime_ms) {
            // Repeated or overtaken on its way; the newer one has been heard.
            self.0.insert(site_id.clone(), last.clone());
            return Finding::default();
        }
        let mut finding = Finding { heads: unknown_heads(&streams, known), ..Finding::default() };
        let is_complete = beat.streams_held as usize == streams.len();
        let mut was_searched = false;
        if let Some(last) = last {
            finding.asks = asks(&last.streams, known);
            if !last.was_searched && is_complete {
                finding.lost = lost(&streams, known);
            }
            was_searched = last.was_searched || is_complete;
        }
        let last = LastBeat { boot_id: beat.boot_id.get(), uptime_ms: beat.uptime_ms, streams, was_searched };
        self.0.insert(site_id.clone(), last);
        finding
    }
}

fn unknown_heads(streams: &[StreamState], known: &HashMap<StreamKey, Watermark>) -> Vec<(StreamKey, Watermark)> {
    let raised = |state: &StreamState| {
        let watermark = known.get(&state.key).copied().unwrap_or_default();
        (state.head > watermark.head_seen).then_some((state.key, Watermark { head_seen: state.head, ..watermark }))
    };
    streams.iter().filter_map(raised).collect()
}

fn asks(last_streams: &[StreamState], known: &HashMap<StreamKey, Watermark>) -> Vec<Ack> {
    last_streams
        .iter()
        .filter_map(|state| Receiver::at(known.get(&state.key).map_or(0, |mark| mark.committed)).wants(*state))
        .collect()
}

fn lost(streams: &[StreamState], known: &HashMap<StreamKey, Watermark>) -> Vec<(StreamKey, Lost)> {
    let held = |key: &StreamKey| streams.iter().find(|state| state.key == *key).map_or(0, |state| state.head);
    let mut lost: Vec<_> = known
        .iter()
        .filter_map(|(key, mark)| Some((*key, Receiver::at(mark.committed).missing(mark.head_seen, held(key))?)))
        .collect();
    lost.sort_by_key(|(key, _)| *key);
    lost
}

/// Takes one heartbeat inside a transaction; the caller commits, then sends the asks.
pub(super) async fn take_beat(
    connection: &mut AnyConnection,
    now_ms: i64,
    (beats, lateness): (&mut Beats, &mut Lateness),
    (site_id, region): (&SiteId, &RegionCode),
    beat: &Beat<'_>,
) -> Result<(Vec<Ack>, Vec<Draft>), sqlx::Error> {
    lateness.learn(site_id, beat.boot_id.get(), beat.uptime_ms, now_ms);
    let known = store::watermarks_of_site(connection, site_id).await?;
    let finding = beats.compare(site_id, beat, &known);
    let key = |stream: StreamKey| JournalKey { site_id: site_id.clone(), stream };
    let heads: Vec<_> = finding.heads.iter().map(|(stream, mark)| (key(*stream), *mark)).collect();
    let heads: Vec<_> = heads.iter().map(|(key, mark)| (key, *mark)).collect();
    let mut writes = Writes::new(connection);
    store::save_watermarks(&mut writes, now_ms, &heads);
    writes.run(connection).await?;
    let mut drafts = Vec::new();
    for (stream, lost) in finding.lost {
        let key = key(stream);
        if store::insert_lost(connection, now_ms, &[(&key, lost)]).await? > 0 {
            let report = lost_report(Place { key: &key, region }, lost);
            drafts.extend(fault::take(connection, now_ms, &report).await?);
        }
    }
    let pending = beat.journal.urgent_pending.saturating_add(beat.journal.routine_pending);
    let heard = presence::Beat {
        boot_id: store::signed(beat.boot_id.get()),
        uptime_ms: i64::try_from(beat.uptime_ms).unwrap_or(i64::MAX),
        version: beat.version,
        journal_pending: i64::try_from(pending).unwrap_or(i64::MAX),
        lan_connected: beat.lan_connected,
    };
    drafts.extend(presence::beat(connection, now_ms, site_id, &heard).await?);
    Ok((finding.asks, drafts))
}

#[cfg(test)]
mod tests {
    use tongluo_protocols::event::{JournalGauges, Streams};
    use tongluo_protocols::id::{BootId, Epoch, Lane};

    use super::*;

    const OLD: StreamKey = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(1) };
    const NEW: StreamKey = StreamKey { lane: Lane::Urgent, epoch: Epoch::from_random(2) };

    fn beat(boot: u64, uptime_ms: u64, streams: &[StreamState]) -> Beat<'_> {
        Beat {
            boot_id: BootId::from_random(boot),
            uptime_ms,
            wall_ms: 0,
            version: "test",
            streams: Streams::new(streams),
            streams_held: streams.len() as u32,
            journal: JournalGauges::default(),
            lan_connected: true,
            devices_count: 0,
            clock_nonce: None,
        }
    }

    fn held(key: StreamKey, head: u64) -> StreamState {
        StreamState { key, oldest: 1, head }
    }

    fn known(marks: &[(StreamKey, u64, u64)]) -> HashMap<StreamKey, Watermark> {
        marks
            .iter()
            .map(|(key, committed, head_seen)| (*key, Watermark { committed: *committed, head_seen: *head_seen }))
            .collect()
    }

    #[test]
    fn a_hub_that_is_behind_asks_at_the_second_beat() {
        let (mut beats, site) = (Beats::default(), SiteId::from_known("s"));
        let known = known(&[(OLD, 3, 10)]);
        let streams = [held(OLD, 10)];
        assert_eq!(beats.compare(&site, &beat(1, 1_000, &streams), &known).asks, []);
        let asks = beats.compare(&site, &beat(1, 2_000, &streams), &known).asks;
        assert_eq!(asks, [Ack { key: OLD, committed: 3, gap: true }]);
    }

    #[test]
    fn heads_are_remembered_before_any_batch_came() {
        let (mut beats, site) = (Beats::default(), SiteId::from_known("s"));
        let finding = beats.compare(&site, &beat(1, 1_000, &[held(OLD, 4)]), &HashMap::new());
        assert_eq!(finding.heads, [(OLD, Watermark { committed: 0, head_seen: 4 })]);
    }

    #[test]
    fn a_disk_that_died_is_noticed_once_by_the_next_run() {
        let (mut beats, site) = (Beats::default(), SiteId::from_known("s"));
        let known = known(&[(OLD, 3, 10)]);
        let after = [held(NEW, 1)];
        assert_eq!(beats.compare(&site, &beat(2, 1_000, &after), &known).lost, [], "not at the first beat");
        let finding = beats.compare(&site, &beat(2, 2_000, &after), &known);
        assert_eq!(finding.lost, [(OLD, Lost { from: 4, to: 10 })]);
        assert_eq!(beats.compare(&site, &beat(2, 3_000, &after), &known).lost, [], "once is enough");
    }

    #[test]
    fn a_straggler_of_an_earlier_run_finds_nothing() {
        let (mut beats, site) = (Beats::default(), SiteId::from_known("s"));
        let known = known(&[(NEW, 0, 1)]);
        beats.compare(&site, &beat(2, 1_000, &[held(NEW, 1)]), &known);
        assert_eq!(beats.compare(&site, &beat(1, 9_000, &[held(OLD, 2)]), &known).lost, []);
        assert_eq!(beats.compare(&site, &beat(2, 2_000, &[held(NEW, 1)]), &known).lost, []);
    }

    #[test]
    fn an_incomplete_list_of_journals_proves_no_loss() {
        let (mut beats, site) = (Beats::default(), SiteId::from_known("s"));
        let known = known(&[(OLD, 3, 10)]);
        for uptime_ms in [1_000, 2_000, 3_000] {
            let after = [held(NEW, 1)];
            let beat = Beat { streams_held: 70, ..beat(2, uptime_ms, &after) };
            assert_eq!(beats.compare(&site, &beat, &known).lost, []);
        }
    }
}
