//! A notice as an order to each gateway, given in the transaction that decided it.

use sqlx::AnyConnection;
use tongluo_protocols::content::{ContentHash, MediaType};
use tongluo_protocols::id::{ContentId, Lane};
use tongluo_protocols::order::{
    Broadcast, Class, Interrupted, List, ORDER_BYTES_MAX, Priority, SPEAKERS_MAX, Sound, Stop,
};

use super::form::whole_ms;
use super::machine::Level;
use super::reach::needs_second;
use super::store::{self, Notice};
use crate::ids::{SiteId, SpeakerId};
use crate::order::{NewOrder, Orders};

/// What the chime before a notice may add to its length.
const CHIME_MS: i64 = 5_000;
/// How long a gateway that was away is still told to be silent. Nothing that was ordered begins so late.
const STOP_VALID_MS: i64 = 24 * 3_600_000;
/// The loudest of a notice of every day, and of anything else. Each loudspeaker has its own ceiling besides.
const DAILY_VOLUME_PERCENT: u8 = 90;
const FULL_VOLUME_PERCENT: u8 = 100;

/// Orders a notice that has just been sent of each of its sites. Returns the sites, to be woken after the commit.
pub(super) async fn start(
    connection: &mut AnyConnection,
    orders: &Orders,
    now_ms: i64,
    notice: &Notice,
) -> Result<Vec<SiteId>, sqlx::Error> {
    let speakers = store::speakers_by_site(connection, &notice.id).await?;
    let mut sites = Vec::new();
    // An order names a bounded number of loudspeakers; a site has no more than that.
    for group in speakers.chunk_by(|(one, _), (other, _)| one == other) {
        let site = &group[0].0;
        let ids: Vec<&str> = group.iter().map(|(_, id)| SpeakerId::as_str(id)).take(SPEAKERS_MAX).collect();
        let mut body = [0; ORDER_BYTES_MAX];
        let length = broadcast(notice, &ids).emit(&mut body).expect("a broadcast of bounded ids fits an order");
        let valid_ms = notice.course.valid_until_ms.unwrap_or(now_ms) - now_ms;
        let order = NewOrder {
            kind: Broadcast::KIND,
            lane: Lane::Urgent,
            valid_ms,
            sound: Some(sound(notice)),
            content: ContentHash::parse(&notice.sound_sha256).map(|hash| ContentId(*hash.as_bytes())),
            body: &body[..length],
        };
        orders.give_locally(connection, now_ms, (site, &notice.reach_code), &order).await?;
        sites.push(site.clone());
    }
    Ok(sites)
}

/// Orders each site of a notice to be silent, as the root: that is obeyed whatever has become of the key it was sent with. Returns the sites, to be woken after the commit.
pub(super) async fn stop(
    connection: &mut AnyConnection,
    orders: &Orders,
    now_ms: i64,
    notice: &Notice,
) -> Result<Vec<SiteId>, sqlx::Error> {
    let mut sites: Vec<SiteId> =
        store::speakers_by_site(connection, &notice.id).await?.into_iter().map(|(site, _)| site).collect();
    sites.dedup();
    let mut body = [0; 128];
    let stop = Stop { id: Some(notice.id.as_str()) };
    let length = stop.emit(&mut body).expect("a notice's id is short");
    let order = NewOrder {
        kind: Stop::KIND,
        lane: Lane::Urgent,
        valid_ms: STOP_VALID_MS,
        sound: None,
        content: None,
        body: &body[..length],
    };
    for site in &sites {
        orders.give(connection, now_ms, site, &order).await?;
    }
    Ok(sites)
}

fn broadcast<'a>(notice: &'a Notice, speakers: &'a [&'a str]) -> Broadcast<'a> {
    let is_emergency = notice.course.level == Level::Emergency;
    Broadcast {
        id: notice.id.as_str(),
        media_type: MediaType::Wav.name(),
        bytes: u64::try_from(notice.sound_bytes).unwrap_or(0),
        speakers: List::new(speakers),
        times: u8::try_from(notice.times).unwrap_or(1),
        pause_ms: u32::try_from(notice.gap_ms).unwrap_or(0),
        priority: if is_emergency { Priority::Emergency } else { Priority::Notice },
        // Half a notice says little: after what went before it, it begins again.
        interrupted: if is_emergency { Interrupted::Resume } else { Interrupted::Restart },
        chime: notice.course.level != Level::Test,
        volume_percent: volume_percent(notice),
        content_ms: u32::try_from(notice.duration_ms).unwrap_or(u32::MAX),
        reach: notice.reach_code.as_str(),
        // One that waited was let through by a second person: nothing else sends it.
        persons: if needs_second(&notice.reach_code) { 2 } else { 1 },
    }
}

fn sound(notice: &Notice) -> Sound {
    let longest_ms = whole_ms(notice.duration_ms, notice.times, notice.gap_ms) + CHIME_MS;
    Sound {
        class: match notice.course.level {
            Level::Notice => Class::Daily,
            Level::Emergency => Class::Emergency,
            Level::Test => Class::Test,
        },
        level: if notice.course.level == Level::Emergency { 1 } else { 0 },
        longest_ms: u32::try_from(longest_ms).unwrap_or(u32::MAX),
        volume_percent_max: volume_percent(notice),
    }
}

const fn volume_percent(notice: &Notice) -> u8 {
    match notice.course.level {
        Level::Notice | Level::Test => DAILY_VOLUME_PERCENT,
        Level::Emergency => FULL_VOLUME_PERCENT,
    }
}
