//! One transaction's worth of batches: judged, written, applied.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use sqlx::AnyConnection;
use tongluo_protocols::event::{Event, Fault, Press, Started, Supervision, Thinned, UnknownAlarm};
use tongluo_protocols::id::{Lane, PressId};
use tongluo_protocols::link::{Ack, BatchView, EntryView, Lost, Receiver};

use super::store::{self, JournalKey, NewEntry, Site, Watermark};
use crate::alarm::{self, AlarmKind, HeardPress, Names};
use crate::broadcast::{self, HeardPlay, HeardSpeaker, HeardVerdict};
use crate::fault;
use crate::fleet::{self, DeviceHeard, HeardDevice};
use crate::ids::{RegionCode, SiteId};
use crate::live;
use crate::store::Writes;
use crate::video::{self, HeardCamera, HeardEvidence};

/// A batch whose envelope has been checked, and how to take it.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) site_id: SiteId,
    pub(super) payload: Bytes,
    /// At most so many of its new entries in this transaction.
    pub(super) entries_max: usize,
    pub(super) application: Application,
}

/// What to do with what entries mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Application {
    /// Raise alarms, hear devices, open faults.
    Whole,
    /// The entry could not be applied: keep it as it came, with a fault and, if it may be an alarm, an unknown alarm.
    FlaggedOnly,
}

/// What a transaction took.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// To be sent after the commit.
    pub(super) acks: Vec<(SiteId, Ack)>,
    pub(super) entries: usize,
    pub(super) presses: usize,
}

/// Flags of entries that were kept without being applied.
mod flag {
    pub(super) const UNREADABLE: &str = "unreadable";
    pub(super) const UNKNOWN_KIND: &str = "unknown_kind";
    pub(super) const INAPPLICABLE: &str = "inapplicable";
}

/// Judges the batches in order and writes what is new. The caller commits, then sends the acks.
pub(super) async fn take(
    connection: &mut AnyConnection,
    now_ms: i64,
    lateness: &Lateness,
    incoming: &[Incoming],
) -> Result<Taken, sqlx::Error> {
    let batches: Vec<(&Incoming, BatchView<'_>, JournalKey)> = incoming
        .iter()
        .filter_map(|incoming| {
            let batch = BatchView::parse(&incoming.payload).ok()?;
            let key = JournalKey { site_id: incoming.site_id.clone(), stream: batch.key() };
            Some((incoming, batch, key))
        })
        .collect();
    let keys: HashSet<&JournalKey> = batches.iter().map(|(.., key)| key).collect();
    let store::Known { sites, watermarks } = store::known(connection, &keys).await?;
    let mut ledger = Judgement { watermarks, ..Judgement::default() };
    for (incoming, batch, key) in &batches {
        // A certificate outlives its site only if somebody deleted rows by hand; without a region nobody may see it.
        if sites.contains_key(&key.site_id) {
            ledger.judge(incoming, batch, key);
        }
    }
    let mut meaning = Meaning::new(now_ms, lateness, &sites);
    meaning.add_lost(&ledger.lost);
    let mut rows = Vec::with_capacity(ledger.new.len());
    for (key, entry, application) in &ledger.new {
        let place = Place { key, region: &sites[&key.site_id].region };
        let flag = meaning.add(place, entry, *application);
        rows.push(NewEntry { key, entry: *entry, flag });
    }
    store::insert_lost(connection, now_ms, &ledger.lost).await?;
    let presses = meaning.presses.len();
    let mut writes = Writes::new(connection);
    store::insert_entries(&mut writes, now_ms, &rows);
    store::save_watermarks(&mut writes, now_ms, &ledger.moved());
    meaning.apply(connection, &mut writes).await?;
    writes.run(connection).await?;
    Ok(Taken { acks: ledger.acks, entries: rows.len(), presses })
}

/// What the watermarks say about the batches.
#[derive(Default)]
struct Judgement<'a> {
    watermarks: HashMap<JournalKey, Watermark>,
    touched: HashSet<&'a JournalKey>,
    new: Vec<(&'a JournalKey, EntryView<'a>, Application)>,
    lost: Vec<(&'a JournalKey, Lost)>,
    acks: Vec<(SiteId, Ack)>,
}

impl<'a> Judgement<'a> {
    fn judge(&mut self, incoming: &Incoming, batch: &BatchView<'a>, key: &'a JournalKey) {
        let watermark = self.watermarks.entry(key.clone()).or_default();
        let mut extent = batch.extent();
        let already = usize::try_from((watermark.committed + 1).saturating_sub(extent.first)).unwrap_or(usize::MAX);
        extent.count = extent.count.min(already.saturating_add(incoming.entries_max));
        let mut receiver = Receiver::at(watermark.committed);
        let offer = receiver.offer(extent);
        receiver.commit(&offer);
        let moved = Watermark {
            committed: receiver.committed(),
            head_seen: watermark.head_seen.max(batch.head()).max(receiver.committed()),
        };
        if moved != *watermark {
            *watermark = moved;
            self.touched.insert(key);
        }
        let application = incoming.application;
        self.new.extend(batch.entries().skip(offer.skip).take(offer.take).map(|entry| (key, entry, application)));
        self.lost.extend(offer.lost.map(|lost| (key, lost)));
        self.acks.push((key.site_id.clone(), offer.ack(key.stream)));
    }

    fn moved(&self) -> Vec<(&'a JournalKey, Watermark)> {
        self.touched.iter().map(|key| (*key, self.watermarks[*key])).collect()
    }
}

/// Where an entry comes from.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) key: &'a JournalKey,
    pub(super) region: &'a RegionCode,
}

/// What the entries of one transaction mean to the other rooms, collected in their order.
struct Meaning<'a> {
    now_ms: i64,
    lateness: &'a Lateness,
    sites: &'a HashMap<SiteId, Site>,
    heard: Vec<DeviceHeard<'a>>,
    /// With the place of its device in `heard`, if it came from one.
    presses: Vec<(HeardPress, Option<usize>)>,
    started: Vec<(&'a SiteId, Started<'a>)>,
    faults: Vec<fault::Report>,
    cameras: Vec<HeardCamera<'a>>,
    evidence: Vec<HeardEvidence<'a>>,
    speakers: Vec<HeardSpeaker<'a>>,
    plays: Vec<HeardPlay<'a>>,
    verdicts: Vec<HeardVerdict<'a>>,
}

impl<'a> Meaning<'a> {
    fn new(now_ms: i64, lateness: &'a Lateness, sites: &'a HashMap<SiteId, Site>) -> Self {
        Self {
            now_ms,
            lateness,
            sites,
            heard: Vec::new(),
            presses: Vec::new(),
            started: Vec::new(),
            faults: Vec::new(),
            cameras: Vec::new(),
            evidence: Vec::new(),
            speakers: Vec::new(),
            plays: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// Adds an entry; returns why it was kept without being applied, if it was.
    fn add(&mut self, place: Place<'a>, entry: &EntryView<'a>, application: Application) -> Option<&'static str> {
        if application == Application::FlaggedOnly {
            self.keep_flagged(place, entry, flag::INAPPLICABLE, "the hub could not apply it");
            return Some(flag::INAPPLICABLE);
        }
        match Event::parse(entry.kind, entry.body) {
            Ok(Event::Press(press)) => self.press(place, entry, &press),
            Ok(Event::UnknownAlarm(unknown)) => self.unknown_alarm(place, entry, &unknown),
            Ok(Event::Supervision(supervision)) => self.supervision(place, &supervision),
            Ok(Event::Fault(fault)) => self.faults.push(fault_report(place, &fault)),
            Ok(Event::Started(started)) => self.started.push((&place.key.site_id, started)),
            Ok(Event::Thinned(thinned)) => self.faults.push(thinned_report(place, thinned)),
            Ok(Event::CameraReport(report)) => {
                self.cameras.push(HeardCamera { site_id: &place.key.site_id, report });
            }
            Ok(Event::Evidence(evidence)) => {
                let heard = HeardEvidence { site_id: &place.key.site_id, region: place.region, evidence };
                self.evidence.push(heard);
            }
            Ok(Event::PlayReport(report)) => self.plays.push(HeardPlay { site_id: &place.key.site_id, report }),
            Ok(Event::Verdict(verdict)) => self.verdicts.push(HeardVerdict { site_id: &place.key.site_id, verdict }),
            Ok(Event::SpeakerReport(report)) => {
                self.speakers.push(HeardSpeaker { site_id: &place.key.site_id, report });
            }
            Ok(Event::Unknown { kind, .. }) => {
                self.keep_flagged(place, entry, flag::UNKNOWN_KIND, &format!("kind {kind} is not known here"));
                return Some(flag::UNKNOWN_KIND);
            }
            Err(error) => {
                self.keep_flagged(place, entry, flag::UNREADABLE, &error.to_string());
                return Some(flag::UNREADABLE);
            }
        }
        None
    }

    fn press(&mut self, place: Place<'a>, entry: &EntryView<'_>, press: &Press<'a>) {
        self.heard.push(DeviceHeard {
            site_id: &place.key.site_id,
            region: place.region,
            key: press.device,
            family: press.family.name(),
            kind: "button",
            reported_name: press.name,
            battery_percent: press.battery_percent.map(i64::from),
            link_quality: None,
            available: None,
            tamper: None,
            heard_ms: self.now_ms,
        });
        let delay_ms = self.lateness.delay_ms(&place.key.site_id, entry, press.heard_ms, self.now_ms);
        let heard_press = HeardPress {
            site_id: place.key.site_id.clone(),
            region: place.region.clone(),
            press_id: press_id(place.key, entry).to_string(),
            source: press.device.as_str().to_owned(),
            device_id: None,
            kind: AlarmKind::Sos,
            trigger: press.trigger.name().to_owned(),
            source_key: press.source_key.map(str::to_owned),
            occurred_ms: press.heard_ms,
            late: press.replayed || alarm::is_late(delay_ms, self.lateness.late_after_ms),
            names: self.names(place),
        };
        self.presses.push((heard_press, Some(self.heard.len() - 1)));
    }

    fn unknown_alarm(&mut self, place: Place<'_>, entry: &EntryView<'_>, unknown: &UnknownAlarm<'_>) {
        let delay_ms = self.lateness.delay_ms(&place.key.site_id, entry, entry.wall_ms, self.now_ms);
        let late = alarm::is_late(delay_ms, self.lateness.late_after_ms);
        let press = self.unknown_press(place, entry, unknown.source, unknown.reason, late);
        self.presses.push((press, None));
    }

    fn supervision(&mut self, place: Place<'a>, supervision: &Supervision<'a>) {
        self.heard.push(DeviceHeard {
            site_id: &place.key.site_id,
            region: place.region,
            key: supervision.device,
            family: supervision.family.name(),
            kind: "unknown",
            reported_name: supervision.name,
            battery_percent: supervision.battery_percent.map(i64::from),
            link_quality: supervision.link_quality.map(i64::from),
            available: supervision.available,
            tamper: supervision.tamper,
            heard_ms: self.now_ms,
        });
    }

    /// An entry that means nothing to this hub is shown all the same; if it may be an alarm, as an alarm.
    fn keep_flagged(&mut self, place: Place<'_>, entry: &EntryView<'_>, flag: &str, why: &str) {
        let at = format!("{}/{}", place.key.stream.epoch, entry.sequence);
        let detail = format!("entry {at} of kind {}: {why}", entry.kind);
        self.faults.push(report(place, "gateway", &format!("entry.{flag}"), detail));
        let may_be_alarm = matches!(entry.kind, Press::KIND | UnknownAlarm::KIND);
        if may_be_alarm && place.key.stream.lane == Lane::Urgent {
            let press = self.unknown_press(place, entry, "gateway", why, false);
            self.presses.push((press, None));
        }
    }

    fn add_lost(&mut self, lost: &[(&JournalKey, Lost)]) {
        for (key, lost) in lost {
            let place = Place { key, region: &self.sites[&key.site_id].region };
            self.faults.push(lost_report(place, *lost));
        }
    }

    fn unknown_press(
        &self,
        place: Place<'_>,
        entry: &EntryView<'_>,
        source: &str,
        why: &str,
        late: bool,
    ) -> HeardPress {
        HeardPress {
            site_id: place.key.site_id.clone(),
            region: place.region.clone(),
            press_id: press_id(place.key, entry).to_string(),
            source: format!("unknown:{source}"),
            device_id: None,
            kind: AlarmKind::Unknown,
            trigger: why.to_owned(),
            source_key: None,
            occurred_ms: entry.wall_ms,
            late,
            names: self.names(place),
        }
    }

    /// What pages call the place; the device's are added when it is known.
    fn names(&self, place: Place<'_>) -> Names {
        let site = &self.sites[&place.key.site_id];
        Names { site_name: site.name.clone(), region_path: site.region_path.clone(), ..Names::default() }
    }

    /// Hands everything to its room; the change log comes last, because its counter makes other writers wait.
    async fn apply(self, connection: &mut AnyConnection, writes: &mut Writes) -> Result<(), sqlx::Error> {
        let now_ms = self.now_ms;
        let heard = fleet::device::heard(connection, now_ms, &self.heard, writes).await?;
        let mut drafts = heard.drafts;
        for (site_id, started) in &self.started {
            let boot_id = store::signed(started.boot_id.get());
            drafts.extend(fleet::presence::started(connection, now_ms, site_id, boot_id, started.version).await?);
        }
        let presses: Vec<HeardPress> = self
            .presses
            .into_iter()
            .map(|(press, word)| match word.and_then(|word| heard.devices[word].clone()) {
                Some(HeardDevice { id, name, place }) => {
                    let names = Names { device_name: name, place, ..press.names };
                    HeardPress { device_id: Some(id), names, ..press }
                }
                None => press,
            })
            .collect();
        drafts.extend(alarm::take_presses(connection, now_ms, &presses, writes).await?);
        for report in &self.faults {
            drafts.extend(fault::take(connection, now_ms, report).await?);
        }
        if !self.cameras.is_empty() {
            drafts.extend(video::take_reports(connection, now_ms, &self.cameras).await?);
        }
        if !self.evidence.is_empty() {
            drafts.extend(video::take_evidence(connection, now_ms, &self.evidence).await?);
        }
        if !self.speakers.is_empty() {
            drafts.extend(broadcast::take_reports(connection, now_ms, &self.speakers).await?);
        }
        if !self.plays.is_empty() || !self.verdicts.is_empty() {
            drafts.extend(broadcast::take_plays(connection, &self.plays, &self.verdicts).await?);
        }
        live::append_with(writes, now_ms, &drafts);
        Ok(())
    }
}

fn press_id(key: &JournalKey, entry: &EntryView<'_>) -> PressId {
    PressId { epoch: key.stream.epoch, sequence: entry.sequence }
}

fn report(place: Place<'_>, source: &str, code: &str, detail: String) -> fault::Report {
    fault::Report {
        site_id: place.key.site_id.clone(),
        region: place.region.clone(),
        device_id: None,
        source: source.to_owned(),
        code: code.to_owned(),
        detail,
        active: true,
    }
}

fn fault_report(place: Place<'_>, fault: &Fault<'_>) -> fault::Report {
    fault::Report { active: fault.active, ..report(place, fault.source, fault.code, fault.detail.to_owned()) }
}

fn thinned_report(place: Place<'_>, thinned: Thinned) -> fault::Report {
    let Thinned { epoch, from, to, kind, count } = thinned;
    let detail =
        format!("{count} entries of kind {kind} between {epoch}/{from} and {to} were thinned: the journal was full");
    report(place, "journal", "journal.thinned", detail)
}

pub(super) fn lost_report(place: Place<'_>, lost: Lost) -> fault::Report {
    let (lane, epoch) = (place.key.stream.lane.name(), place.key.stream.epoch);
    let detail = format!("{} {lane} entries are gone: {epoch}/{} to {}", lost.count(), lost.from, lost.to);
    // A loss of each journal is a fault of its own: a second one must not hide how many the first one took.
    report(place, &format!("journal/{lane}/{epoch}/{}", lost.from), "journal.lost", detail)
}

/// How late entries are, told without trusting gateways' wall clocks where possible: a gateway's heartbeat says how long
/// its program has been running, which places every monotonic time stamp of that run on the hub's clock.
#[derive(Clone, Debug)]
pub(super) struct Lateness {
    /// Presses that reach the ledger later than this are late.
    pub(super) late_after_ms: i64,
    /// Of each site: its current boot, and when that began by the hub's clock.
    boots: HashMap<SiteId, (u64, i64)>,
}

impl Lateness {
    pub(super) fn new(late_after_ms: i64) -> Self {
        Self { late_after_ms, boots: HashMap::new() }
    }

    /// Learns from a heartbeat when a boot began.
    pub(super) fn learn(&mut self, site_id: &SiteId, boot_id: u64, uptime_ms: u64, now_ms: i64) {
        let began_ms = now_ms.saturating_sub(i64::try_from(uptime_ms).unwrap_or(i64::MAX));
        self.boots.insert(site_id.clone(), (boot_id, began_ms));
    }

    /// How long ago an entry was written; by the gateway's own clock when its boot is not the current one, and `None`
    /// when that clock is ahead of ours.
    fn delay_ms(&self, site_id: &SiteId, entry: &EntryView<'_>, heard_ms: i64, now_ms: i64) -> Option<i64> {
        match self.boots.get(site_id) {
            Some((boot_id, began_ms)) if *boot_id == entry.boot_id.get() => {
                Some(now_ms - began_ms.saturating_add(store::signed(entry.mono_ms)))
            }
            _ => Some(now_ms.saturating_sub(heard_ms)).filter(|delay| *delay >= 0),
        }
    }
}
