//! SQL of the outbox: the hub's own journals, how far gateways have committed them, and what is kept no longer.

use std::collections::HashMap;

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use tongluo_protocols::id::{BootId, Epoch, Lane, Sequence, StreamKey};
use tongluo_protocols::link::{BATCH_ENTRIES_MAX, EntryView};

use super::store::signed;
use crate::ids::SiteId;
use crate::store::{chunks, insert_rows, parameters};

/// How long a committed entry is kept, for a gateway whose disk was set back: as long as gateways keep theirs.
const COMMITTED_KEPT_MS: i64 = 7 * 24 * 3600 * 1000;
/// How long an entry waits for a gateway that does not come. Its order ran out long ago; the gateway is told that it is lost.
const WAITING_KEPT_MS: i64 = 90 * 24 * 3600 * 1000;

/// A stream of the outbox, as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stream {
    pub(super) key: StreamKey,
    pub(super) oldest: Sequence,
    pub(super) head: Sequence,
    pub(super) committed: Sequence,
}

/// An entry on its way to a gateway.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) sequence: Sequence,
    pub(super) wall_ms: i64,
    pub(super) mono_ms: u64,
    pub(super) kind: u16,
    pub(super) body: Vec<u8>,
}

impl Outgoing {
    pub(super) fn view(&self, boot_id: BootId) -> EntryView<'_> {
        let Self { sequence, wall_ms, mono_ms, kind, body } = self;
        EntryView { sequence: *sequence, boot_id, wall_ms: *wall_ms, mono_ms: *mono_ms, kind: *kind, body }
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Takes the next sequence of a stream, opening it with the first. The row is held until the caller commits, so the order of
/// sequences is the order of commits, and a transaction that fails leaves no hole.
pub(super) async fn next_sequence(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    key: StreamKey,
) -> Result<Sequence, sqlx::Error> {
    let head: i64 = sqlx::query_scalar(
        "insert into outbox_stream (site_id, lane, epoch, opened_ms, head, oldest, committed) \
         values ($1, $2, $3, $4, 1, 1, 0) \
         on conflict (site_id, lane, epoch) do update set head = outbox_stream.head + 1 returning head",
    )
    .bind(site.as_str())
    .bind(i64::from(key.lane.number()))
    .bind(signed(key.epoch.get()))
    .bind(now_ms)
    .fetch_one(connection)
    .await?;
    Ok(unsigned(head))
}

pub(super) async fn insert_entry(
    connection: &mut AnyConnection,
    site: &SiteId,
    key: StreamKey,
    sequence: Sequence,
    (wall_ms, mono_ms): (i64, i64),
    kind: u16,
    body: &[u8],
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into outbox (site_id, lane, epoch, sequence, wall_ms, mono_ms, kind, body) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(site.as_str())
    .bind(i64::from(key.lane.number()))
    .bind(signed(key.epoch.get()))
    .bind(signed(sequence))
    .bind(wall_ms)
    .bind(mono_ms)
    .bind(i64::from(kind))
    .bind(body)
    .execute(connection)
    .await?;
    Ok(())
}

/// The streams of these sites, of each in the order in which they were opened.
pub(super) async fn streams(
    connection: &mut AnyConnection,
    sites: &[SiteId],
) -> Result<HashMap<SiteId, Vec<Stream>>, sqlx::Error> {
    let mut found: HashMap<SiteId, Vec<Stream>> = HashMap::new();
    for chunk in chunks(sites) {
        let wanted = parameters(connection, chunk.len(), 1);
        let sql = format!(
            "select site_id, lane, epoch, head, oldest, committed from outbox_stream \
             where site_id in (values {wanted}) order by opened_ms, epoch"
        );
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for site in chunk {
            query = query.bind(site.as_str());
        }
        for row in query.fetch_all(&mut *connection).await? {
            let site = SiteId::from_known(row.try_get::<String, _>("site_id")?);
            found.entry(site).or_default().push(stream_from_row(&row)?);
        }
    }
    Ok(found)
}

fn stream_from_row(row: &AnyRow) -> Result<Stream, sqlx::Error> {
    let corrupt = |what: &str| sqlx::Error::Decode(format!("outbox_stream.{what} is out of range").into());
    let lane = Lane::from_number(unsigned(row.try_get("lane")?)).map_err(|_| corrupt("lane"))?;
    let epoch = Epoch::new(unsigned(row.try_get("epoch")?)).map_err(|_| corrupt("epoch"))?;
    Ok(Stream {
        key: StreamKey { lane, epoch },
        oldest: unsigned(row.try_get("oldest")?),
        head: unsigned(row.try_get("head")?),
        committed: unsigned(row.try_get("committed")?),
    })
}

/// Entries of a stream from `from` on, as many as a batch can take.
pub(super) async fn entries(
    connection: &mut AnyConnection,
    site: &SiteId,
    key: StreamKey,
    from: Sequence,
) -> Result<Vec<Outgoing>, sqlx::Error> {
    let rows = sqlx::query(
        "select sequence, wall_ms, mono_ms, kind, body from outbox \
         where site_id = $1 and lane = $2 and epoch = $3 and sequence >= $4 order by sequence limit $5",
    )
    .bind(site.as_str())
    .bind(i64::from(key.lane.number()))
    .bind(signed(key.epoch.get()))
    .bind(signed(from))
    .bind(BATCH_ENTRIES_MAX as i64)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Outgoing {
                sequence: unsigned(row.try_get("sequence")?),
                wall_ms: row.try_get("wall_ms")?,
                mono_ms: unsigned(row.try_get("mono_ms")?),
                kind: u16::try_from(row.try_get::<i64, _>("kind")?).unwrap_or(0),
                body: row.try_get("body")?,
            })
        })
        .collect()
}

/// Remembers what gateways have committed. Never moves back: only the gateway's own word, on a later connection, does.
pub(super) async fn save_committed(
    connection: &mut AnyConnection,
    committed: &[(SiteId, StreamKey, Sequence)],
) -> Result<(), sqlx::Error> {
    insert_rows(
        connection,
        "outbox_stream (site_id, lane, epoch, opened_ms, head, oldest, committed)",
        7,
        // The row is there: an entry of it was acknowledged. `excluded` only carries the new value.
        "on conflict (site_id, lane, epoch) do update set committed = excluded.committed \
         where outbox_stream.committed < excluded.committed",
        committed,
        |query, (site, key, through)| {
            query
                .bind(site.as_str())
                .bind(i64::from(key.lane.number()))
                .bind(signed(key.epoch.get()))
                .bind(0_i64)
                .bind(signed(*through))
                .bind(signed(*through) + 1)
                .bind(signed(*through))
        },
    )
    .await?;
    Ok(())
}

/// Forgets what is kept no longer; what a stream still holds is told by its `oldest`.
pub(super) async fn expire(connection: &mut AnyConnection, now_ms: i64) -> Result<u64, sqlx::Error> {
    let removed = sqlx::query(
        "delete from outbox where wall_ms < $1 or (wall_ms < $2 and sequence <= \
         (select committed from outbox_stream s where s.site_id = outbox.site_id and s.lane = outbox.lane \
          and s.epoch = outbox.epoch))",
    )
    .bind(now_ms - WAITING_KEPT_MS)
    .bind(now_ms - COMMITTED_KEPT_MS)
    .execute(&mut *connection)
    .await?
    .rows_affected();
    if removed > 0 {
        sqlx::query(
            "update outbox_stream set oldest = coalesce((select min(sequence) from outbox o \
             where o.site_id = outbox_stream.site_id and o.lane = outbox_stream.lane \
             and o.epoch = outbox_stream.epoch), head + 1)",
        )
        .execute(&mut *connection)
        .await?;
    }
    // A stream of which nothing is left and nothing waits has nothing to say.
    sqlx::query("delete from outbox_stream where oldest > head and committed = head and opened_ms < $1")
        .bind(now_ms - COMMITTED_KEPT_MS)
        .execute(&mut *connection)
        .await?;
    Ok(removed)
}

/// Whether something in this lane waits for a site.
pub(super) async fn waits(connection: &mut AnyConnection, site: &SiteId, lane: Lane) -> Result<bool, sqlx::Error> {
    let waiting: i64 =
        sqlx::query_scalar("select count(*) from outbox_stream where site_id = $1 and lane = $2 and committed < head")
            .bind(site.as_str())
            .bind(i64::from(lane.number()))
            .fetch_one(connection)
            .await?;
    Ok(waiting > 0)
}

/// How many entries wait for their gateways.
pub(super) async fn waiting(connection: &mut AnyConnection) -> Result<i64, sqlx::Error> {
    // Postgres sums bigints to numeric, which `Any` does not carry.
    sqlx::query_scalar(
        "select cast(coalesce(sum(head - case when committed > oldest - 1 then committed else oldest - 1 end), 0) \
         as bigint) from outbox_stream where committed < head",
    )
    .fetch_one(connection)
    .await
}
