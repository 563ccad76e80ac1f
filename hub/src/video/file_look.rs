//! A look at a file of what cameras saw: a picture or a clip of a press, or the film of an export.
//!
//! A player fetches a film in many ranges, now and then, as it is needed. That is one look of one viewer, and one pair of
//! lines in the audit trail: ranges that follow one another within a minute belong together. What is going on stands in a
//! table, so that the end is written whoever is the hub by then: [`end_quiet`] writes it once a minute has passed with
//! nothing read, with the time from the first byte that was asked for to the last one that was taken.

use axum::body::Body;
use axum::response::Response;
use futures_util::StreamExt as _;
use sqlx::{AnyConnection, Row};

use crate::audit::{self, Record};
use crate::clock;
use crate::ids::RegionCode;
use crate::store::Store;
use crate::viewer::Viewer;

/// Ranges with a longer pause in between are two looks. A browser that plays a film asks again within seconds.
const REST_MS: i64 = 60_000;

/// While bytes flow, so often is it written that they do: often enough that the look does not end meanwhile.
const SEEN_EVERY_MS: i64 = REST_MS / 3;

/// What kind of file is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A picture or a clip of a press.
    Evidence,
    /// A stretch taken out of a recording.
    Export,
}

impl FileKind {
    const ALL: [Self; 2] = [Self::Evidence, Self::Export];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Evidence => "evidence",
            Self::Export => "export",
        }
    }

    const fn actions(self) -> (&'static str, &'static str) {
        match self {
            Self::Evidence => ("evidence.open", "evidence.opened"),
            Self::Export => ("export.open", "export.opened"),
        }
    }
}

/// Who looks at what.
#[derive(Clone, Debug)]
pub(super) struct FileLook {
    store: Store,
    actor: String,
    kind: FileKind,
    subject: String,
    region: RegionCode,
    detail: String,
}

impl FileLook {
    /// Begins a look, or goes on with the one that the viewer has of this file. `detail`: what makes the line
    /// understandable later; never anything about a person.
    ///
    /// # Errors
    /// The database's: then nothing may be shown.
    pub(super) async fn begin(
        store: &Store,
        viewer: &Viewer,
        kind: FileKind,
        (subject, region): (&str, &RegionCode),
        detail: String,
    ) -> Result<Self, sqlx::Error> {
        let (actor, subject) = (viewer.username.clone(), subject.to_owned());
        let look = Self { store: store.clone(), actor, kind, subject, region: region.clone(), detail };
        look.seen(clock::utc_ms()).await?;
        Ok(look)
    }

    /// The answer, whose look lasts until the last byte of it has been taken, or nobody wants it any more.
    pub(super) fn during(self, answer: Response) -> Response {
        let mut reading = Reading { look: self, seen_ms: clock::utc_ms() };
        answer.map(|body| {
            Body::from_stream(body.into_data_stream().map(move |piece| {
                reading.goes_on();
                piece
            }))
        })
    }

    /// Something of the file is read.
    async fn seen(&self, now_ms: i64) -> Result<(), sqlx::Error> {
        let mut transaction = self.store.begin().await?;
        if self.touch(&mut transaction, now_ms, now_ms - REST_MS).await? {
            return transaction.commit().await;
        }
        end(&mut transaction, now_ms, Some(self), 1).await?;
        let begun = sqlx::query(
            "insert into file_look (actor, kind, subject, region_code, detail, began_ms, seen_ms) \
             values ($1, $2, $3, $4, $5, $6, $6) on conflict (actor, kind, subject) do nothing",
        )
        .bind(&self.actor)
        .bind(self.kind.as_str())
        .bind(&self.subject)
        .bind(self.region.as_str())
        .bind(&self.detail)
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        // Otherwise another range of the same look was first.
        if begun.rows_affected() == 1 {
            let line = Record::done_by(&self.actor, self.kind.actions().0, self.subject.as_str(), &self.region);
            audit::record(&mut transaction, now_ms, line.detail(&self.detail)).await?;
        }
        transaction.commit().await
    }

    /// Notes that something was read, if the look has been going on since `since_ms`.
    async fn touch(&self, connection: &mut AnyConnection, now_ms: i64, since_ms: i64) -> Result<bool, sqlx::Error> {
        let touched = sqlx::query(
            "update file_look set seen_ms = $4 where actor = $1 and kind = $2 and subject = $3 and seen_ms > $5",
        )
        .bind(&self.actor)
        .bind(self.kind.as_str())
        .bind(&self.subject)
        .bind(now_ms)
        .bind(since_ms)
        .execute(connection)
        .await?;
        Ok(touched.rows_affected() == 1)
    }

    /// The last byte was taken.
    async fn left(&self, now_ms: i64) -> Result<(), sqlx::Error> {
        let mut transaction = self.store.begin().await?;
        self.touch(&mut transaction, now_ms, now_ms - REST_MS).await?;
        transaction.commit().await
    }
}

/// A body that is being read. Dropping it notes when the reading stopped.
struct Reading {
    look: FileLook,
    seen_ms: i64,
}

impl Reading {
    fn goes_on(&mut self) {
        let now_ms = clock::utc_ms();
        if now_ms - self.seen_ms >= SEEN_EVERY_MS {
            self.seen_ms = now_ms;
            let look = self.look.clone();
            note(async move { look.seen(now_ms).await });
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let (look, now_ms) = (self.look.clone(), clock::utc_ms());
        note(async move { look.left(now_ms).await });
    }
}

/// Writes beside the answer, which does not wait for it.
fn note(write: impl Future<Output = Result<(), sqlx::Error>> + Send + 'static) {
    // Without a runtime the process is ending; the next one ends the look with what was noted last.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            if let Err(error) = write.await {
                tracing::error!(%error, "How long a look at a file lasted could not be noted");
            }
        });
    }
}

/// Ends looks in which nothing was read for a minute, at most `max`. Returns how many.
///
/// # Errors
/// The database's.
pub(super) async fn end_quiet(store: &Store, now_ms: i64, max: i64) -> Result<i64, sqlx::Error> {
    let mut transaction = store.begin().await?;
    let ended = end(&mut transaction, now_ms, None, max).await?;
    transaction.commit().await?;
    Ok(ended)
}

/// Ends quiet looks, of one viewer at one file or of anybody, each with its line in the audit trail.
async fn end(
    connection: &mut AnyConnection,
    now_ms: i64,
    only: Option<&FileLook>,
    max: i64,
) -> Result<i64, sqlx::Error> {
    let rows = sqlx::query(
        "delete from file_look where seen_ms <= $1 and (actor, kind, subject) in \
           (select actor, kind, subject from file_look where seen_ms <= $1 \
              and ($3 = '' or (actor = $3 and kind = $4 and subject = $5)) order by seen_ms limit $2) \
         returning actor, kind, subject, region_code, detail, began_ms, seen_ms",
    )
    .bind(now_ms - REST_MS)
    .bind(max)
    .bind(only.map_or("", |look| look.actor.as_str()))
    .bind(only.map_or("", |look| look.kind.as_str()))
    .bind(only.map_or("", |look| look.subject.as_str()))
    .fetch_all(&mut *connection)
    .await?;
    for row in &rows {
        let kind: String = row.try_get("kind")?;
        let Some(kind) = FileKind::ALL.into_iter().find(|known| known.as_str() == kind) else { continue };
        let region = RegionCode::from_known(row.try_get::<String, _>("region_code")?);
        let duration_ms = (row.try_get::<i64, _>("seen_ms")? - row.try_get::<i64, _>("began_ms")?).max(0);
        let detail = format!("duration_ms={duration_ms} {}", row.try_get::<String, _>("detail")?);
        let (actor, subject): (String, String) = (row.try_get("actor")?, row.try_get("subject")?);
        let line = Record::done_by(&actor, kind.actions().1, subject, &region).detail(detail);
        audit::record(connection, now_ms, line).await?;
    }
    Ok(rows.len() as i64)
}
