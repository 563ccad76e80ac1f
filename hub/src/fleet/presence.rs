//! What a gateway last said of itself, and whether the broker holds its connection.
//!
//! One row a site. A gateway speaks every few seconds and mostly says the same, so that is written once in ten seconds
//! and told to the pages only when something changed that a person would act on.

use sqlx::AnyConnection;

use super::view;
use crate::ids::SiteId;
use crate::live::Draft;

/// How old the table's "last heard" may be: below the fifteen seconds after which a page calls a gateway quiet.
const HEARD_WRITTEN_MS: i64 = 10 * 1000;

/// A gateway's heartbeat, as far as it is shown.
#[derive(Clone, Copy, Debug)]
pub struct Beat<'a> {
    /// Names this run of the gateway's program.
    pub boot_id: i64,
    /// How long it has run.
    pub uptime_ms: i64,
    /// Of its program.
    pub version: &'a str,
    /// Entries of its journal that are not acknowledged.
    pub journal_pending: i64,
    /// Whether it reaches its village broker.
    pub lan_connected: bool,
}

/// A row of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Presence {
    online: bool,
    online_changed_ms: i64,
    last_heard_ms: Option<i64>,
    boot_id: Option<i64>,
    boot_ms: Option<i64>,
    version: Option<String>,
    journal_pending: Option<i64>,
    lan_connected: Option<bool>,
}

impl Presence {
    /// What of it a person would act on.
    fn news(&self) -> (bool, Option<i64>, Option<&str>, bool, Option<bool>) {
        let behind = self.journal_pending.is_some_and(|pending| pending > 0);
        (self.online, self.boot_id, self.version.as_deref(), behind, self.lan_connected)
    }

    fn turned(mut self, online: bool, now_ms: i64) -> Self {
        if self.online != online {
            self.online = online;
            self.online_changed_ms = now_ms;
        }
        self
    }

    fn booted(mut self, boot_id: i64, boot_ms: i64, version: &str) -> Self {
        if self.boot_id != Some(boot_id) {
            self.boot_id = Some(boot_id);
            self.boot_ms = Some(boot_ms);
        }
        self.version = Some(version.chars().take(40).collect());
        self
    }
}

/// The broker holds a connection of this site. Returns what to tell the pages.
///
/// # Errors
/// The database's.
pub async fn online(connection: &mut AnyConnection, now_ms: i64, site: &SiteId) -> Result<Option<Draft>, sqlx::Error> {
    update(connection, now_ms, site, |presence| Presence {
        last_heard_ms: Some(now_ms),
        ..presence.turned(true, now_ms)
    })
    .await
}

/// The broker lost the connection of this site. Returns what to tell the pages.
///
/// # Errors
/// The database's.
pub async fn offline(connection: &mut AnyConnection, now_ms: i64, site: &SiteId) -> Result<Option<Draft>, sqlx::Error> {
    update(connection, now_ms, site, |presence| presence.turned(false, now_ms)).await
}

/// A gateway's program has started, as its journal says. Returns what to tell the pages.
///
/// # Errors
/// The database's.
pub async fn started(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    boot_id: i64,
    version: &str,
) -> Result<Option<Draft>, sqlx::Error> {
    update(connection, now_ms, site, |presence| Presence {
        last_heard_ms: Some(now_ms),
        ..presence.booted(boot_id, now_ms, version)
    })
    .await
}

/// A heartbeat came. Returns what to tell the pages.
///
/// # Errors
/// The database's.
pub async fn beat(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    beat: &Beat<'_>,
) -> Result<Option<Draft>, sqlx::Error> {
    let boot_ms = now_ms.saturating_sub(beat.uptime_ms.max(0));
    update(connection, now_ms, site, |presence| Presence {
        last_heard_ms: Some(now_ms),
        journal_pending: Some(beat.journal_pending),
        lan_connected: Some(beat.lan_connected),
        ..presence.booted(beat.boot_id, boot_ms, beat.version)
    })
    .await
}

/// The hub has started and holds no connection yet: whoever counted as on line no longer does, until they are back.
/// Returns what to tell the pages.
///
/// # Errors
/// The database's.
pub async fn all_offline(connection: &mut AnyConnection, now_ms: i64) -> Result<Vec<Draft>, sqlx::Error> {
    let mut views = view::sites_online(&mut *connection, now_ms).await?;
    sqlx::query("update presence set online = 0, online_changed_ms = $1 where online = 1")
        .bind(now_ms)
        .execute(connection)
        .await?;
    for gateway in views.iter_mut().filter_map(|view| view.gateway.as_mut()) {
        gateway.online = false;
        gateway.online_changed_ms = Some(now_ms);
    }
    Ok(views.iter().map(view::SiteView::draft).collect())
}

/// Forgets what the former gateway of a site said: another box fills it now.
pub(super) async fn forget(connection: &mut AnyConnection, site: &SiteId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from presence where site_id = $1").bind(site.as_str()).execute(connection).await?;
    Ok(())
}

async fn update(
    connection: &mut AnyConnection,
    now_ms: i64,
    site: &SiteId,
    change: impl FnOnce(Presence) -> Presence,
) -> Result<Option<Draft>, sqlx::Error> {
    let before = read(&mut *connection, site).await?;
    let known = before.is_some();
    let before = before.unwrap_or(Presence { online_changed_ms: now_ms, ..Presence::default() });
    let after = change(before.clone());
    let is_news = !known || before.news() != after.news();
    let silence_ms = now_ms - before.last_heard_ms.unwrap_or(0);
    if !is_news && (0..HEARD_WRITTEN_MS).contains(&silence_ms) {
        return Ok(None);
    }
    write(&mut *connection, site, &after).await?;
    if !is_news {
        return Ok(None);
    }
    Ok(view::site(connection, now_ms, site).await?.map(|view| view.draft()))
}

async fn read(connection: &mut AnyConnection, site: &SiteId) -> Result<Option<Presence>, sqlx::Error> {
    type Row = (i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<String>, Option<i64>, Option<i64>);
    let row: Option<Row> = sqlx::query_as(
        "select online, online_changed_ms, last_heard_ms, boot_id, boot_ms, version, journal_pending, lan_connected \
         from presence where site_id = $1",
    )
    .bind(site.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|row| Presence {
        online: row.0 != 0,
        online_changed_ms: row.1,
        last_heard_ms: row.2,
        boot_id: row.3,
        boot_ms: row.4,
        version: row.5,
        journal_pending: row.6,
        lan_connected: row.7.map(|connected| connected != 0),
    }))
}

async fn write(connection: &mut AnyConnection, site: &SiteId, presence: &Presence) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into presence (site_id, online, online_changed_ms, last_heard_ms, boot_id, boot_ms, version, \
         journal_pending, lan_connected) values ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
         on conflict (site_id) do update set online = excluded.online, \
         online_changed_ms = excluded.online_changed_ms, last_heard_ms = excluded.last_heard_ms, \
         boot_id = excluded.boot_id, boot_ms = excluded.boot_ms, version = excluded.version, \
         journal_pending = excluded.journal_pending, lan_connected = excluded.lan_connected",
    )
    .bind(site.as_str())
    .bind(i64::from(presence.online))
    .bind(presence.online_changed_ms)
    .bind(presence.last_heard_ms)
    .bind(presence.boot_id)
    .bind(presence.boot_ms)
    .bind(presence.version.as_deref())
    .bind(presence.journal_pending)
    .bind(presence.lan_connected.map(i64::from))
    .execute(connection)
    .await?;
    Ok(())
}
