//! SQL of the ledger: entries, watermarks, and what was lost.

use std::collections::{HashMap, HashSet};

use sqlx::{AnyConnection, AssertSqlSafe, Row};
use tongluo_protocols::id::{Epoch, Lane, StreamKey};
use tongluo_protocols::link::{EntryView, Lost};

use crate::ids::{RegionCode, SiteId};
use crate::store::{chunks, insert_rows, parameters};

/// A journal of one gateway, as the ledger knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct JournalKey {
    pub(super) site_id: SiteId,
    pub(super) stream: StreamKey,
}

impl JournalKey {
    pub(super) fn lane(&self) -> i64 {
        i64::from(self.stream.lane.number())
    }

    pub(super) fn epoch(&self) -> i64 {
        signed(self.stream.epoch.get())
    }
}

/// How far a journal has been taken, and how far the gateway said it reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Watermark {
    pub(super) committed: u64,
    pub(super) head_seen: u64,
}

/// An entry on its way into the ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewEntry<'a> {
    pub(super) key: &'a JournalKey,
    pub(super) entry: EntryView<'a>,
    /// Why it is kept without being applied.
    pub(super) flag: Option<&'static str>,
}

/// Numbers of the link have 63 bits, so that every database keeps them as they are.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).expect("the link's numbers have at most 63 bits: checked when parsed")
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Regions of those of the sites that exist.
pub(super) async fn regions(
    connection: &mut AnyConnection,
    sites: &HashSet<&SiteId>,
) -> Result<HashMap<SiteId, RegionCode>, sqlx::Error> {
    let sites: Vec<&SiteId> = sites.iter().copied().collect();
    let mut regions = HashMap::with_capacity(sites.len());
    for chunk in chunks(&sites) {
        let wanted = parameters(connection, chunk.len(), 1);
        let sql = format!("select id, region_code from site where id in (values {wanted})");
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for site in chunk {
            query = query.bind(site.as_str());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let region = RegionCode::from_known(row.try_get::<String, _>("region_code")?);
            regions.insert(SiteId::from_known(row.try_get::<String, _>("id")?), region);
        }
    }
    Ok(regions)
}

/// Watermarks of the journals, as far as the ledger knows them.
pub(super) async fn watermarks(
    connection: &mut AnyConnection,
    keys: &HashSet<&JournalKey>,
) -> Result<HashMap<JournalKey, Watermark>, sqlx::Error> {
    let keys: Vec<&JournalKey> = keys.iter().copied().collect();
    let mut found = HashMap::with_capacity(keys.len());
    for chunk in chunks(&keys) {
        let wanted = parameters(connection, chunk.len(), 3);
        let sql = format!(
            "with wanted (site, lane_number, epoch_number) as (values {wanted}) \
             select site_id, lane, epoch, committed, head_seen from wanted \
             join watermark on site_id = site and lane = lane_number and epoch = epoch_number"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in chunk {
            query = query.bind(key.site_id.as_str()).bind(key.lane()).bind(key.epoch());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let (key, watermark) = watermark_from_row(&row)?;
            found.insert(key, watermark);
        }
    }
    Ok(found)
}

/// Every journal of a site.
pub(super) async fn watermarks_of_site(
    connection: &mut AnyConnection,
    site_id: &SiteId,
) -> Result<HashMap<StreamKey, Watermark>, sqlx::Error> {
    let rows = sqlx::query("select site_id, lane, epoch, committed, head_seen from watermark where site_id = $1")
        .bind(site_id.as_str())
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| watermark_from_row(row).map(|(key, watermark)| (key.stream, watermark))).collect()
}

fn watermark_from_row(row: &sqlx::any::AnyRow) -> Result<(JournalKey, Watermark), sqlx::Error> {
    let corrupt = |what: &str| sqlx::Error::Decode(format!("watermark.{what} is out of range").into());
    let lane = Lane::from_number(unsigned(row.try_get("lane")?)).map_err(|_| corrupt("lane"))?;
    let epoch = Epoch::new(unsigned(row.try_get("epoch")?)).map_err(|_| corrupt("epoch"))?;
    let site_id = SiteId::from_known(row.try_get::<String, _>("site_id")?);
    let watermark =
        Watermark { committed: unsigned(row.try_get("committed")?), head_seen: unsigned(row.try_get("head_seen")?) };
    Ok((JournalKey { site_id, stream: StreamKey { lane, epoch } }, watermark))
}

/// Moves watermarks. They never move back: a head seen once stays seen.
pub(super) async fn save_watermarks(
    connection: &mut AnyConnection,
    now_ms: i64,
    watermarks: &[(&JournalKey, Watermark)],
) -> Result<(), sqlx::Error> {
    insert_rows(
        connection,
        "watermark (site_id, lane, epoch, committed, head_seen, changed_ms)",
        6,
        "on conflict (site_id, lane, epoch) do update set committed = excluded.committed, \
         head_seen = excluded.head_seen, changed_ms = excluded.changed_ms",
        watermarks,
        |query, (key, watermark)| {
            query
                .bind(key.site_id.as_str())
                .bind(key.lane())
                .bind(key.epoch())
                .bind(signed(watermark.committed))
                .bind(signed(watermark.head_seen))
                .bind(now_ms)
        },
    )
    .await?;
    Ok(())
}

/// Writes entries as they came. A repeated one is an error of the caller's: the primary key is what makes a press count
/// once.
pub(super) async fn insert_entries(
    connection: &mut AnyConnection,
    now_ms: i64,
    entries: &[NewEntry<'_>],
) -> Result<(), sqlx::Error> {
    insert_rows(
        connection,
        "entry (site_id, lane, epoch, sequence, boot_id, wall_ms, mono_ms, kind, body, received_ms, flag)",
        11,
        "",
        entries,
        |query, NewEntry { key, entry, flag }| {
            query
                .bind(key.site_id.as_str())
                .bind(key.lane())
                .bind(key.epoch())
                .bind(signed(entry.sequence))
                .bind(signed(entry.boot_id.get()))
                .bind(entry.wall_ms)
                .bind(signed(entry.mono_ms))
                .bind(i64::from(entry.kind))
                .bind(entry.body)
                .bind(now_ms)
                .bind(*flag)
        },
    )
    .await?;
    Ok(())
}

/// Remembers what was lost. Returns how many of these losses are new.
pub(super) async fn insert_lost(
    connection: &mut AnyConnection,
    now_ms: i64,
    lost: &[(&JournalKey, Lost)],
) -> Result<u64, sqlx::Error> {
    insert_rows(
        connection,
        "lost (site_id, lane, epoch, from_sequence, to_sequence, noticed_ms)",
        6,
        "on conflict do nothing",
        lost,
        |query, (key, lost)| {
            query
                .bind(key.site_id.as_str())
                .bind(key.lane())
                .bind(key.epoch())
                .bind(signed(lost.from))
                .bind(signed(lost.to))
                .bind(now_ms)
        },
    )
    .await
}
