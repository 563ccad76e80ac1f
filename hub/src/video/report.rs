//! What gateways tell of their cameras, taken inside the ledger's transaction.
//!
//! The newest report of a camera becomes its state; the pages are told when that is news; and what somebody must mend
//! becomes a fault `camera.<state>` of the source `camera:<id>`, which ends when the camera says that it is otherwise; what is
//! the trouble of its recorder (`recorder.rs`) becomes one fault of that.
//! Reports of a whole county returning from a blackout arrive together: they are read and written with few statements, so
//! that presses do not wait for them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sqlx::{AnyConnection, AssertSqlSafe};
use tongluo_protocols::event::{CameraReport, CameraState, StreamFacts};

use super::recorder::{self, Told};
use super::view::{self, Camera, CameraView};
use super::{health, store};
use crate::fault;
use crate::ids::{CameraId, RecorderId, SiteId};
use crate::live::Draft;
use crate::store::{chunks, parameters};

/// Longest word for a state or a codec that is stored; longer ones are cut.
const WORD_BYTES_MAX: usize = 32;
/// Longest detail that is stored, in characters.
const DETAIL_CHARS_MAX: usize = 200;

/// A report as the ledger hands it over.
#[derive(Clone, Copy, Debug)]
pub struct HeardCamera<'a> {
    /// Whose gateway says it; of another site's camera nothing is believed.
    pub site_id: &'a SiteId,
    /// What it says.
    pub report: CameraReport<'a>,
}

/// Takes reports, in order, inside the ledger's transaction. Returns what to append to the change log.
///
/// # Errors
/// The database's.
pub async fn take_reports(
    connection: &mut AnyConnection,
    now_ms: i64,
    reports: &[HeardCamera<'_>],
) -> Result<Vec<Draft>, sqlx::Error> {
    // Of several reports of one camera only the newest counts.
    let mut newest: BTreeMap<&str, HeardCamera<'_>> = BTreeMap::new();
    for heard in reports {
        let known = newest.entry(heard.report.camera).or_insert(*heard);
        if heard.report.heard_ms >= known.report.heard_ms {
            *known = *heard;
        }
    }
    let ids: Vec<&str> = newest.keys().copied().collect();
    let before = view::some(connection, now_ms, &ids).await?;
    let taken: Vec<(Camera, CameraReport<'_>)> = before
        .into_iter()
        .filter_map(|camera| {
            let heard = newest.get(camera.view.id.as_str())?;
            let is_newer = camera.heard_ms.is_none_or(|known_ms| heard.report.heard_ms >= known_ms);
            (is_newer && camera.view.site_id == *heard.site_id).then_some((camera, heard.report))
        })
        .collect();
    let (recorders, said) = concerned(&taken);
    store::hold_recorders(connection, &recorders).await?;
    write(connection, now_ms, &taken).await?;
    let ids: Vec<&str> = taken.iter().map(|(camera, _)| camera.view.id.as_str()).collect();
    let mut after: HashMap<CameraId, CameraView> = view::some(connection, now_ms, &ids)
        .await?
        .into_iter()
        .map(|camera| (camera.view.id.clone(), camera.view))
        .collect();
    let mut households = view::households(connection, &ids).await?;
    let mut drafts = settle(connection, now_ms, &recorders, &said).await?;
    for (camera, _) in &taken {
        let Some(mut view) = after.remove(&camera.view.id) else { continue };
        drafts.extend(faults(connection, now_ms, camera, &view).await?);
        if camera.told_stale || is_news(&camera.view, &view) {
            view.household_device_ids = households.remove(&view.id).unwrap_or_default();
            drafts.push(view.draft());
        }
    }
    Ok(drafts)
}

/// The recorders whose faults may have become others by these reports, and the cameras that say so.
fn concerned<'a>(taken: &'a [(Camera, CameraReport<'_>)]) -> (Vec<&'a RecorderId>, HashSet<CameraId>) {
    let concerned = taken.iter().filter(|(camera, report)| {
        let is = word(report.state.name());
        is != camera.reported_state || recorder::may_be_shared(&is)
    });
    let (recorders, cameras): (BTreeSet<_>, _) =
        concerned.map(|(camera, _)| (&camera.view.recorder_id, camera.view.id.clone())).unzip();
    (recorders.into_iter().collect(), cameras)
}

/// Makes the faults of recorders, and those of their cameras that may be the recorder's, what they are now. The recorders are
/// held; `heard` cameras have just said how they are. Returns what to append to the change log.
pub(super) async fn settle(
    connection: &mut AnyConnection,
    now_ms: i64,
    recorders: &[&RecorderId],
    heard: &HashSet<CameraId>,
) -> Result<Vec<Draft>, sqlx::Error> {
    let recorders = store::channels(connection, recorders).await?;
    let sources: Vec<(&SiteId, String)> =
        recorders.iter().flat_map(|one| one.sources().into_iter().map(|source| (&one.site_id, source))).collect();
    let mut open = fault::open_of(connection, &sources).await?;
    let mut drafts = Vec::new();
    for one in &recorders {
        let its_own: HashSet<String> = one.sources().into_iter().collect();
        let stands = open.extract_if(|(source, _)| its_own.contains(source)).collect();
        for Told { report, since_ms } in one.tell(&stands, heard) {
            drafts.extend(fault::take_since(connection, now_ms, &report, since_ms).await?);
        }
    }
    Ok(drafts)
}

/// Whether a page would show anything else. Recordings grow and frames come all the time: that is none.
fn is_news(before: &CameraView, after: &CameraView) -> bool {
    let shown = |view: &CameraView| CameraView {
        last_frame_ms: None,
        recorded_from_ms: view.recorded_from_ms.map(|_| 0),
        recorded_bytes: None,
        reported_ms: None,
        ..view.clone()
    };
    shown(before) != shown(after)
}

/// Ends the fault of how the camera was, and opens or repeats that of how it is; but see [`settle`].
async fn faults(
    connection: &mut AnyConnection,
    now_ms: i64,
    before: &Camera,
    after: &CameraView,
) -> Result<Vec<Draft>, sqlx::Error> {
    let (was, is) = (before.reported_state.as_str(), after.state.name.as_str());
    let is_stale = is == health::STALE;
    let is = if is_stale { after.state.detail.as_str() } else { is };
    let mut drafts = Vec::new();
    if was != is && is_fault(was) {
        drafts.extend(fault::take(connection, now_ms, &report(after, was, "", false)).await?);
    }
    if before.told_stale {
        drafts.extend(fault::take(connection, now_ms, &report(after, health::UNHEARD, "", false)).await?);
    }
    if is_fault(is) {
        let detail = if is_stale { "" } else { after.state.detail.as_str() };
        drafts.extend(fault::take(connection, now_ms, &report(after, is, detail, true)).await?);
    }
    Ok(drafts)
}

/// Whether a state is a fault of the camera alone.
fn is_fault(state: &str) -> bool {
    state != health::NEW && CameraState::from_name(state).is_fault() && !recorder::may_be_shared(state)
}

/// The report of a camera's fault to the room of faults.
pub(super) fn report(camera: &CameraView, state: &str, detail: &str, active: bool) -> fault::Report {
    fault::Report {
        site_id: camera.site_id.clone(),
        region: camera.region_code.clone(),
        device_id: None,
        source: super::fault_source(&camera.id),
        code: format!("camera.{state}"),
        detail: if active { super::fault_detail(&camera.name, detail) } else { String::new() },
        active,
    }
}

async fn write(
    connection: &mut AnyConnection,
    now_ms: i64,
    taken: &[(Camera, CameraReport<'_>)],
) -> Result<(), sqlx::Error> {
    for chunk in chunks(taken) {
        let wanted = parameters(connection, chunk.len(), 15);
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "with wanted (of_id, is_state, is_since, is_detail, m_codec, m_width, m_height, s_codec, s_width, s_height, \
             from_ms, in_bytes, frame_ms, at_ms, told_ms) as (values {wanted}) \
             update camera set state = is_state, state_since_ms = is_since, state_detail = is_detail, \
             main_codec = m_codec, main_width = m_width, main_height = m_height, sub_codec = s_codec, \
             sub_width = s_width, sub_height = s_height, recorded_from_ms = from_ms, recorded_bytes = in_bytes, \
             last_frame_ms = frame_ms, heard_ms = at_ms, reported_ms = told_ms, stale = 0 \
             from wanted where camera.id = of_id"
        )));
        for (camera, report) in chunk {
            let (main, sub) = (report.main.as_ref(), report.sub.as_ref());
            query = query
                .bind(camera.view.id.as_str())
                .bind(word(report.state.name()))
                .bind(report.since_ms)
                .bind(line(report.detail))
                .bind(main.map(|facts| word(facts.codec)))
                .bind(main.map(|facts| i64::from(facts.width)))
                .bind(main.map(|facts| i64::from(facts.height)))
                .bind(sub.map(|facts| word(facts.codec)))
                .bind(sub.map(|facts: &StreamFacts<'_>| i64::from(facts.width)))
                .bind(sub.map(|facts| i64::from(facts.height)))
                .bind(report.recorded_from_ms)
                .bind(report.recorded_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)))
                .bind(report.last_frame_ms)
                .bind(report.heard_ms)
                .bind(now_ms);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// A state or a codec as it is stored: lower-case letters, digits and `_`, so that it may stand in a fault's code.
fn word(text: &str) -> String {
    let word: String = text
        .bytes()
        .take(WORD_BYTES_MAX)
        .map(|byte| match byte.to_ascii_lowercase() {
            plain @ (b'a'..=b'z' | b'0'..=b'9' | b'_') => char::from(plain),
            _ => '_',
        })
        .collect();
    if word.is_empty() { "unknown".to_owned() } else { word }
}

fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(DETAIL_CHARS_MAX).collect()
}
