//! SQL of the ledger: entries, watermarks, and what was lost.

use std::collections::{HashMap, HashSet};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use tongluo_protocols::id::{Epoch, Lane, StreamKey};
use tongluo_protocols::link::{EntryView, Lost};

use crate::ids::{RegionCode, SiteId};
use crate::store::{Writes, chunks, insert_rows, parameters};

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

/// A site, as far as the ledger has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) region: RegionCode,
    pub(super) name: String,
    /// Names from the county downwards.
    pub(super) region_path: Vec<String>,
}

/// What the ledger knows of the journals that batches came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Those of their sites that exist.
    pub(super) sites: HashMap<SiteId, Site>,
    /// Of those that were heard before.
    pub(super) watermarks: HashMap<JournalKey, Watermark>,
}

/// Looks journals up, and their sites with them.
pub(super) async fn known(connection: &mut AnyConnection, keys: &HashSet<&JournalKey>) -> Result<Known, sqlx::Error> {
    let keys: Vec<&JournalKey> = keys.iter().copied().collect();
    let mut known = Known::default();
    for chunk in chunks(&keys) {
        let wanted = parameters(connection, chunk.len(), 3);
        let sql = format!(
            "with wanted (of_site, of_lane, of_epoch) as (values {wanted}) \
             select s.id as site_id, s.name, s.region_code, county.name as county_name, \
             township.name as township_name, village.name as village_name, \
             of_lane as lane, of_epoch as epoch, committed, head_seen from wanted join site s on s.id = of_site \
             left join watermark on site_id = of_site and lane = of_lane and epoch = of_epoch \
             left join region county on county.code = substr(s.region_code, 1, 6) \
             left join region township on township.code = substr(s.region_code, 1, 9) and length(s.region_code) >= 9 \
             left join region village on village.code = substr(s.region_code, 1, 12) and length(s.region_code) >= 12"
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for key in chunk {
            query = query.bind(key.site_id.as_str()).bind(key.lane()).bind(key.epoch());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let (site_id, site) = site_from_row(&row)?;
            known.sites.insert(site_id, site);
            if row.try_get::<Option<i64>, _>("committed")?.is_some() {
                let (key, watermark) = watermark_from_row(&row)?;
                known.watermarks.insert(key, watermark);
            }
        }
    }
    Ok(known)
}

fn site_from_row(row: &AnyRow) -> Result<(SiteId, Site), sqlx::Error> {
    let mut region_path = Vec::with_capacity(3);
    for column in ["county_name", "township_name", "village_name"] {
        region_path.extend(row.try_get::<Option<String>, _>(column)?);
    }
    let region = RegionCode::from_known(row.try_get::<String, _>("region_code")?);
    let site = Site { region, name: row.try_get("name")?, region_path };
    Ok((SiteId::from_known(row.try_get::<String, _>("site_id")?), site))
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

fn watermark_from_row(row: &AnyRow) -> Result<(JournalKey, Watermark), sqlx::Error> {
    let corrupt = |what: &str| sqlx::Error::Decode(format!("watermark.{what} is out of range").into());
    let lane = Lane::from_number(unsigned(row.try_get("lane")?)).map_err(|_| corrupt("lane"))?;
    let epoch = Epoch::new(unsigned(row.try_get("epoch")?)).map_err(|_| corrupt("epoch"))?;
    let site_id = SiteId::from_known(row.try_get::<String, _>("site_id")?);
    let watermark =
        Watermark { committed: unsigned(row.try_get("committed")?), head_seen: unsigned(row.try_get("head_seen")?) };
    Ok((JournalKey { site_id, stream: StreamKey { lane, epoch } }, watermark))
}

/// Moves watermarks. They never move back: a head seen once stays seen.
pub(super) fn save_watermarks(writes: &mut Writes, now_ms: i64, watermarks: &[(&JournalKey, Watermark)]) {
    writes.insert(
        "watermark (site_id, lane, epoch, committed, head_seen, changed_ms)",
        6,
        "on conflict (site_id, lane, epoch) do update set committed = excluded.committed, \
         head_seen = excluded.head_seen, changed_ms = excluded.changed_ms",
        watermarks,
        |values, (key, watermark)| {
            values
                .bind(key.site_id.as_str())
                .bind(key.lane())
                .bind(key.epoch())
                .bind(signed(watermark.committed))
                .bind(signed(watermark.head_seen))
                .bind(now_ms)
        },
    );
}

/// Writes entries as they came. A repeated one is an error of the caller's: the primary key is what makes a press count
/// once.
pub(super) fn insert_entries(writes: &mut Writes, now_ms: i64, entries: &[NewEntry<'_>]) {
    writes.insert(
        "entry (site_id, lane, epoch, sequence, boot_id, wall_ms, mono_ms, kind, body, received_ms, flag)",
        11,
        "",
        entries,
        |values, NewEntry { key, entry, flag }| {
            values
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
    );
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
        |values, (key, lost)| {
            values
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
