//! What gateways tell of notices, taken inside the ledger's transaction: how far each loudspeaker has come, and what the
//! gateway's judge said to the order.
//!
//! A word that is older than the one before it changes nothing. A verdict concerns all loudspeakers of its site that have not
//! begun.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::{AnyConnection, AssertSqlSafe};
use tongluo_protocols::event::{PlayReport, Verdict};
use tongluo_protocols::order::Broadcast;

use super::view;
use crate::broadcast::words::{line, word};
use crate::ids::SiteId;
use crate::live::Draft;
use crate::store::{chunks, parameters};

/// The verdict on an order that was heard before: what it ordered has had its verdict.
const REPEATED: &str = "repeated";

/// A play report as the ledger hands it over.
#[derive(Clone, Copy, Debug)]
pub struct HeardPlay<'a> {
    /// Whose gateway says it; of another site's loudspeaker nothing is believed.
    pub site_id: &'a SiteId,
    /// What it says.
    pub report: PlayReport<'a>,
}

/// A verdict as the ledger hands it over.
#[derive(Clone, Copy, Debug)]
pub struct HeardVerdict<'a> {
    /// Whose gateway says it.
    pub site_id: &'a SiteId,
    /// What it says.
    pub verdict: Verdict<'a>,
}

/// Takes reports and verdicts, in order, inside the ledger's transaction. Returns what to append to the change log: each
/// notice that changed, once.
///
/// # Errors
/// The database's.
pub async fn take_plays(
    connection: &mut AnyConnection,
    plays: &[HeardPlay<'_>],
    verdicts: &[HeardVerdict<'_>],
) -> Result<Vec<Draft>, sqlx::Error> {
    // Verdicts first: of what was refused no loudspeaker tells anything more, and of what was obeyed they tell the rest.
    let mut touched: BTreeSet<String> = BTreeSet::new();
    for HeardVerdict { site_id, verdict } in verdicts {
        touched.extend(refuse(connection, site_id, verdict).await?);
    }
    let mut newest: BTreeMap<(&str, &str), HeardPlay<'_>> = BTreeMap::new();
    for play in plays {
        let known = newest.entry((play.report.broadcast, play.report.speaker)).or_insert(*play);
        if play.report.at_ms >= known.report.at_ms {
            *known = *play;
        }
    }
    let newest: Vec<HeardPlay<'_>> = newest.into_values().collect();
    touched.extend(write(connection, &newest).await?);
    let ids: Vec<&str> = touched.iter().map(String::as_str).collect();
    settle(connection, &ids).await?;
    Ok(view::some(connection, &ids).await?.iter().map(view::NoticeView::draft).collect())
}

/// Marks what a gateway refused; answers the notice if that changed it.
async fn refuse(
    connection: &mut AnyConnection,
    site: &SiteId,
    verdict: &Verdict<'_>,
) -> Result<Option<String>, sqlx::Error> {
    let is_refusal = !matches!(verdict.verdict, Verdict::OBEYED | REPEATED);
    let Some(notice) = verdict.broadcast.filter(|_| is_refusal && verdict.kind == Broadcast::KIND) else {
        return Ok(None);
    };
    let changed = sqlx::query(
        "update notice_speaker set state = 'refused', detail = $3, at_ms = $4 where notice_id = $1 and site_id = $2 \
         and state in ('waiting', 'fetching')",
    )
    .bind(notice)
    .bind(site.as_str())
    .bind(word(verdict.verdict))
    .bind(verdict.at_ms)
    .execute(connection)
    .await?;
    Ok((changed.rows_affected() > 0).then(|| notice.to_owned()))
}

/// Writes reports that are newer than what is known; answers the notices that they changed.
async fn write(connection: &mut AnyConnection, plays: &[HeardPlay<'_>]) -> Result<BTreeSet<String>, sqlx::Error> {
    let mut changed = BTreeSet::new();
    for chunk in chunks(plays) {
        let wanted = parameters(connection, chunk.len(), 8);
        // Made of literals and numbers only.
        let mut query = sqlx::query_scalar(AssertSqlSafe(format!(
            "with wanted (of_notice, of_speaker, of_site, is_state, is_times, is_played, is_detail, is_at) \
             as (values {wanted}) \
             update notice_speaker set state = is_state, times = is_times, played_ms = is_played, detail = is_detail, \
             at_ms = is_at from wanted where notice_id = of_notice and speaker_id = of_speaker and site_id = of_site \
             and coalesce(at_ms, is_at) <= is_at returning notice_id"
        )));
        for HeardPlay { site_id, report } in chunk {
            query = query
                .bind(report.broadcast)
                .bind(report.speaker)
                .bind(site_id.as_str())
                .bind(word(report.state.name()))
                .bind(i64::from(report.times))
                .bind(i64::from(report.played_ms))
                .bind(line(report.detail))
                .bind(report.at_ms);
        }
        let ids: Vec<String> = query.fetch_all(&mut *connection).await?;
        changed.extend(ids);
    }
    Ok(changed)
}

/// Writes of notices that changed whether anything more is to come of them.
pub(super) async fn settle(connection: &mut AnyConnection, ids: &[&str]) -> Result<(), sqlx::Error> {
    for chunk in chunks(ids) {
        let wanted = parameters(connection, chunk.len(), 1);
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "update notice set revision = revision + 1, settled = case when exists (select 1 from notice_speaker \
             where notice_speaker.notice_id = notice.id and notice_speaker.state not in \
             ('played', 'interrupted', 'failed', 'refused', 'expired', 'stopped')) then 0 else 1 end \
             where id in (values {wanted})"
        )));
        for id in chunk {
            query = query.bind(*id);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
