//! What gateways tell of their loudspeakers, taken inside the ledger's transaction.
//!
//! The newest report of a loudspeaker becomes its state; the pages are told when that is news; and what somebody must mend
//! becomes a fault `speaker.<state>` of the source `speaker:<id>`, which ends when the loudspeaker is otherwise.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, AssertSqlSafe};
use tongluo_protocols::event::{SpeakerReport, SpeakerState};

use super::task::UNHEARD;
use super::view::{self, NEW, Speaker, SpeakerView};
use crate::broadcast::words::{line, word};
use crate::fault;
use crate::ids::SiteId;
use crate::live::Draft;
use crate::store::{chunks, parameters};

/// A report as the ledger hands it over.
#[derive(Clone, Copy, Debug)]
pub struct HeardSpeaker<'a> {
    /// Whose gateway says it; of another site's loudspeaker nothing is believed.
    pub site_id: &'a SiteId,
    /// What it says.
    pub report: SpeakerReport<'a>,
}

/// Takes reports, in order, inside the ledger's transaction. Returns what to append to the change log.
///
/// # Errors
/// The database's.
pub async fn take_reports(
    connection: &mut AnyConnection,
    now_ms: i64,
    reports: &[HeardSpeaker<'_>],
) -> Result<Vec<Draft>, sqlx::Error> {
    // A journal is in order: of several reports of one loudspeaker the last counts.
    let newest: BTreeMap<(&SiteId, &str), SpeakerReport<'_>> =
        reports.iter().map(|heard| ((heard.site_id, heard.report.speaker), heard.report)).collect();
    let ids: Vec<&str> = newest.keys().map(|(_, id)| *id).collect();
    let taken: Vec<(Speaker, SpeakerReport<'_>)> = view::some(connection, now_ms, &ids)
        .await?
        .into_iter()
        .filter_map(|speaker| {
            let report = *newest.get(&(&speaker.view.site_id, speaker.view.id.as_str()))?;
            Some((speaker, report))
        })
        .collect();
    write(connection, now_ms, &taken).await?;
    let ids: Vec<&str> = taken.iter().map(|(speaker, _)| speaker.view.id.as_str()).collect();
    let mut drafts = Vec::new();
    for after in view::some(connection, now_ms, &ids).await? {
        let before = taken.iter().find(|(before, _)| before.view.id == after.view.id);
        let (before, _) = before.expect("only those that were taken were read again");
        drafts.extend(faults(connection, now_ms, before, &after).await?);
        if before.told_stale || is_news(&before.view, &after.view) {
            drafts.push(after.view.draft());
        }
    }
    Ok(drafts)
}

/// Whether a page would show anything else. That it was heard again, and where nothing else has changed, is none.
fn is_news(before: &SpeakerView, after: &SpeakerView) -> bool {
    let shown = |view: &SpeakerView| SpeakerView { last_heard_ms: None, reported_ms: None, ..view.clone() };
    shown(before) != shown(after)
}

/// Ends the fault of how the loudspeaker was, and opens or repeats that of how it is.
async fn faults(
    connection: &mut AnyConnection,
    now_ms: i64,
    before: &Speaker,
    after: &Speaker,
) -> Result<Vec<Draft>, sqlx::Error> {
    let (was, is) = (before.reported_state.as_str(), after.reported_state.as_str());
    let view = &after.view;
    let mut drafts = Vec::new();
    if was != is && is_fault(was) {
        drafts.extend(fault::take(connection, now_ms, &report(view, was, "", false)).await?);
    }
    if before.told_stale {
        drafts.extend(fault::take(connection, now_ms, &report(view, UNHEARD, "", false)).await?);
    }
    if is_fault(is) {
        drafts.extend(fault::take(connection, now_ms, &report(view, is, &view.detail, true)).await?);
    }
    Ok(drafts)
}

fn is_fault(state: &str) -> bool {
    state != NEW && SpeakerState::from_name(state).is_fault()
}

/// The report of a loudspeaker's fault to the room of faults.
pub(super) fn report(speaker: &SpeakerView, state: &str, detail: &str, active: bool) -> fault::Report {
    let detail = match (active, detail) {
        (true, "") => speaker.name.clone(),
        (true, detail) => format!("{}: {detail}", speaker.name),
        (false, _) => String::new(),
    };
    fault::Report {
        site_id: speaker.site_id.clone(),
        region: speaker.region_code.clone(),
        device_id: None,
        source: super::fault_source(&speaker.id),
        code: format!("speaker.{state}"),
        detail,
        active,
    }
}

async fn write(
    connection: &mut AnyConnection,
    now_ms: i64,
    taken: &[(Speaker, SpeakerReport<'_>)],
) -> Result<(), sqlx::Error> {
    for chunk in chunks(taken) {
        let wanted = parameters(connection, chunk.len(), 7);
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "with wanted (of_id, is_state, is_since, is_detail, is_playing, life_ms, told_ms) as (values {wanted}) \
             update speaker set state = is_state, state_since_ms = is_since, state_detail = is_detail, \
             playing = is_playing, last_heard_ms = coalesce(life_ms, last_heard_ms), reported_ms = told_ms, stale = 0 \
             from wanted where speaker.id = of_id"
        )));
        for (speaker, report) in chunk {
            query = query
                .bind(speaker.view.id.as_str())
                .bind(word(report.state.name()))
                .bind(report.since_ms)
                .bind(line(report.detail))
                .bind(report.playing.map(word))
                .bind(report.heard_ms)
                .bind(now_ms);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
