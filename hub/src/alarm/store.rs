//! SQL of alarms: loading what the rules need, saving what they changed.

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use tongluo_protocols::id::PressId;

use super::HeardPress;
use super::machine::{AlarmKind, AlarmState, CloseReason, Closing, Course, LineKind, Press};
use crate::ids::{AlarmId, DeviceId, RegionCode, SiteId, sortable};
use crate::store::{Writes, chunks, parameters};

/// An alarm as the rules and the tables know it.
#[derive(Clone, Debug)]
pub(super) struct Alarm {
    pub(super) id: AlarmId,
    pub(super) site_id: SiteId,
    pub(super) region: RegionCode,
    pub(super) source: String,
    pub(super) device_id: Option<DeviceId>,
    pub(super) kind: AlarmKind,
    pub(super) course: Course,
    /// Position of the last line of its story in the table.
    last_line: i64,
}

/// A line of an alarm's story, on its way to the table.
struct Line<'a> {
    alarm: &'a Alarm,
    at_ms: i64,
    what: LineKind,
    actor: Option<&'a str>,
    detail: Option<&'a str>,
}

impl AlarmKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Sos => "sos",
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn from_name(name: &str) -> Self {
        if name == "sos" { Self::Sos } else { Self::Unknown }
    }
}

impl AlarmState {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Unacknowledged => "unacknowledged",
            Self::Acknowledged => "acknowledged",
            Self::Closed => "closed",
        }
    }

    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "acknowledged" => Self::Acknowledged,
            "closed" => Self::Closed,
            _ => Self::Unacknowledged,
        }
    }
}

impl CloseReason {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::FalseAlarm => "false_alarm",
            Self::Test => "test",
            Self::Duplicate => "duplicate",
            Self::HandedOver => "handed_over",
            Self::Other => "other",
        }
    }

    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "resolved" => Self::Resolved,
            "false_alarm" => Self::FalseAlarm,
            "test" => Self::Test,
            "duplicate" => Self::Duplicate,
            "handed_over" => Self::HandedOver,
            _ => Self::Other,
        }
    }
}

impl LineKind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Pressed => "pressed",
            Self::PressedAgain => "pressed_again",
            Self::Late => "late",
            Self::Acknowledged => "acknowledged",
            Self::Going => "going",
            Self::Arrived => "arrived",
            Self::Closed => "closed",
        }
    }

    pub(super) fn from_name(name: &str) -> Self {
        match name {
            "raised" => Self::Raised,
            "pressed_again" => Self::PressedAgain,
            "late" => Self::Late,
            "acknowledged" => Self::Acknowledged,
            "going" => Self::Going,
            "arrived" => Self::Arrived,
            "closed" => Self::Closed,
            _ => Self::Pressed,
        }
    }
}

/// Applies the presses in order, and adds what that changes to the transaction's writes. Returns the alarms that change, each
/// once, in the order of their first press here, with the place of its latest press among the presses.
pub(super) async fn take_presses(
    connection: &mut AnyConnection,
    now_ms: i64,
    presses: &[HeardPress],
    writes: &mut Writes,
) -> Result<Vec<(Alarm, usize)>, sqlx::Error> {
    let mut sources: Vec<(&SiteId, &str)> = presses.iter().map(HeardPress::sent_by).collect();
    sources.sort_unstable();
    sources.dedup();
    let place = |(site, source): (&SiteId, &str)| {
        sources.binary_search(&(site, source)).expect("every source that is asked for is there")
    };
    let mut open: Vec<Option<Alarm>> = sources.iter().map(|_| None).collect();
    for alarm in open_of_sources(connection, &sources).await? {
        let place = place((&alarm.site_id, &alarm.source));
        open[place] = Some(alarm);
    }
    let mut touched: Vec<Touched> = Vec::new();
    let mut by_source: Vec<Option<usize>> = vec![None; sources.len()];
    let mut owners = Vec::with_capacity(presses.len());
    for (latest, heard) in presses.iter().enumerate() {
        let press = Press { occurred_ms: heard.occurred_ms, received_ms: now_ms, late: heard.late };
        let source = place(heard.sent_by());
        let owner = match by_source[source] {
            Some(owner) => {
                touched[owner].press(press, latest);
                owner
            }
            None => {
                touched.push(Touched::begin(open[source].take(), heard, now_ms, press, latest));
                *by_source[source].insert(touched.len() - 1)
            }
        };
        owners.push(owner);
    }
    save_touched(writes, now_ms, &touched);
    insert_presses(writes, now_ms, presses, &owners, &touched);
    Ok(touched.into_iter().map(|touched| (touched.alarm, touched.latest)).collect())
}

/// An alarm that presses of this transaction raised or changed.
struct Touched {
    alarm: Alarm,
    lines: Vec<LineKind>,
    /// Which of the transaction's presses was its last.
    latest: usize,
}

impl Touched {
    fn begin(open: Option<Alarm>, heard: &HeardPress, now_ms: i64, press: Press, latest: usize) -> Self {
        if let Some(alarm) = open {
            let mut touched = Self { alarm, lines: Vec::new(), latest };
            touched.press(press, latest);
            return touched;
        }
        let (course, lines) = Course::raise(press);
        let alarm = Alarm {
            id: AlarmId::from_known(sortable(now_ms)),
            site_id: heard.site_id.clone(),
            region: heard.region.clone(),
            source: heard.source.clone(),
            device_id: heard.device_id.clone(),
            kind: heard.kind,
            course,
            last_line: 0,
        };
        Self { alarm, lines, latest }
    }

    fn press(&mut self, press: Press, latest: usize) {
        self.latest = latest;
        self.lines.extend(self.alarm.course.press(press));
    }
}

fn save_touched(writes: &mut Writes, now_ms: i64, touched: &[Touched]) {
    let alarms: Vec<&Alarm> = touched.iter().map(|touched| &touched.alarm).collect();
    save_alarms(writes, &alarms);
    let lines: Vec<Line<'_>> = touched
        .iter()
        .flat_map(|touched| {
            let alarm = &touched.alarm;
            touched.lines.iter().map(move |what| Line { alarm, at_ms: now_ms, what: *what, actor: None, detail: None })
        })
        .collect();
    insert_lines(writes, &lines);
}

/// Writes alarms that are new, and of those that are not what the rules change.
fn save_alarms(writes: &mut Writes, alarms: &[&Alarm]) {
    writes.insert(
        "alarm (id, site_id, region_code, source, device_id, kind, state, sounding, late, presses, occurred_ms, \
         raised_ms, last_press_ms, acknowledged_ms, acknowledged_by, closed_ms, closed_by, close_reason, close_note, \
         revision)",
        20,
        "on conflict (id) do update set state = excluded.state, sounding = excluded.sounding, \
         presses = excluded.presses, occurred_ms = excluded.occurred_ms, last_press_ms = excluded.last_press_ms, \
         acknowledged_ms = excluded.acknowledged_ms, acknowledged_by = excluded.acknowledged_by, \
         closed_ms = excluded.closed_ms, closed_by = excluded.closed_by, close_reason = excluded.close_reason, \
         close_note = excluded.close_note, revision = excluded.revision",
        alarms,
        |values, alarm| {
            let course = &alarm.course;
            let acknowledged = course.acknowledged.as_ref();
            let closed = course.closed.as_ref();
            values
                .bind(alarm.id.as_str())
                .bind(alarm.site_id.as_str())
                .bind(alarm.region.as_str())
                .bind(alarm.source.as_str())
                .bind(alarm.device_id.as_ref().map(DeviceId::as_str))
                .bind(alarm.kind.name())
                .bind(course.state.name())
                .bind(i64::from(course.sounding))
                .bind(i64::from(course.late))
                .bind(course.presses)
                .bind(course.occurred_ms)
                .bind(course.raised_ms)
                .bind(course.last_press_ms)
                .bind(acknowledged.map(|(at_ms, _)| *at_ms))
                .bind(acknowledged.map(|(_, by)| by.as_str()))
                .bind(closed.map(|closing| closing.at_ms))
                .bind(closed.map(|closing| closing.by.as_str()))
                .bind(closed.map(|closing| closing.reason.name()))
                .bind(closed.and_then(|closing| closing.note.as_deref()))
                .bind(course.revision)
        },
    );
}

/// Whether the last line of an alarm's story is this one of this person.
pub(super) async fn was_said_last(
    connection: &mut AnyConnection,
    alarm: &Alarm,
    what: LineKind,
    actor: &str,
) -> Result<bool, sqlx::Error> {
    let last: Option<(String, Option<String>)> =
        sqlx::query_as("select what, actor from alarm_line where alarm_id = $1 and position = $2")
            .bind(alarm.id.as_str())
            .bind(alarm.last_line)
            .fetch_optional(connection)
            .await?;
    Ok(last.is_some_and(|(said, by)| said == what.name() && by.as_deref() == Some(actor)))
}

/// The last press of an alarm, by its id at the gateway; `None` if that is not one.
pub(super) async fn last_press(connection: &mut AnyConnection, alarm: &Alarm) -> Result<Option<PressId>, sqlx::Error> {
    // Of one batch the greatest sequence, which is text here: the longer number is the greater.
    let last: Option<String> = sqlx::query_scalar(
        "select press_id from press where alarm_id = $1 \
         order by received_ms desc, length(press_id) desc, press_id desc limit 1",
    )
    .bind(alarm.id.as_str())
    .fetch_optional(connection)
    .await?;
    Ok(last.and_then(|last| last.parse().ok()))
}

/// Saves an alarm that a person changed, with the lines of its story.
pub(super) async fn save(
    connection: &mut AnyConnection,
    alarm: &Alarm,
    now_ms: i64,
    actor: &str,
    lines: &[LineKind],
) -> Result<(), sqlx::Error> {
    let mut writes = Writes::new(connection);
    save_alarms(&mut writes, &[alarm]);
    let closed = alarm.course.closed.as_ref();
    let lines: Vec<Line<'_>> = lines
        .iter()
        .map(|what| {
            let detail = closed.filter(|_| *what == LineKind::Closed).map(|closing| closing.reason.name());
            Line { alarm, at_ms: now_ms, what: *what, actor: Some(actor), detail }
        })
        .collect();
    insert_lines(&mut writes, &lines);
    writes.run(connection).await?;
    Ok(())
}

/// Lines of one alarm come together and in order; their positions continue from its last one.
fn insert_lines(writes: &mut Writes, lines: &[Line<'_>]) {
    let mut placed: Vec<(i64, &Line<'_>)> = Vec::with_capacity(lines.len());
    for line in lines {
        let before = placed.last().filter(|(_, before)| before.alarm.id == line.alarm.id);
        placed.push((before.map_or(line.alarm.last_line, |(position, _)| *position) + 1, line));
    }
    writes.insert(
        "alarm_line (alarm_id, position, at_ms, what, actor, detail)",
        6,
        "",
        &placed,
        |values, (position, line)| {
            values
                .bind(line.alarm.id.as_str())
                .bind(*position)
                .bind(line.at_ms)
                .bind(line.what.name())
                .bind(line.actor)
                .bind(line.detail)
        },
    );
}

fn insert_presses(writes: &mut Writes, now_ms: i64, presses: &[HeardPress], owners: &[usize], touched: &[Touched]) {
    let rows: Vec<(&HeardPress, &AlarmId)> =
        presses.iter().zip(owners).map(|(press, owner)| (press, &touched[*owner].alarm.id)).collect();
    writes.insert(
        "press (site_id, press_id, alarm_id, source_key, trigger, occurred_ms, received_ms, late)",
        8,
        "",
        &rows,
        |values, (press, alarm_id)| {
            values
                .bind(press.site_id.as_str())
                .bind(press.press_id.as_str())
                .bind(alarm_id.as_str())
                .bind(press.source_key.as_deref())
                .bind(press.trigger.as_str())
                .bind(press.occurred_ms)
                .bind(now_ms)
                .bind(i64::from(press.late))
        },
    );
}

macro_rules! columns {
    () => {
        " returning id, site_id, region_code, source, device_id, kind, state, sounding, late, presses, occurred_ms, \
         raised_ms, last_press_ms, acknowledged_ms, acknowledged_by, closed_ms, closed_by, close_reason, close_note, \
         revision, (select coalesce(max(position), 0) from alarm_line where alarm_id = alarm.id) as last_line"
    };
}

// An update that changes nothing is the row lock that both databases know: until this transaction ends, a press and a
// person's act on the same alarm wait for each other.

/// The open alarms of sources, held until the transaction ends.
async fn open_of_sources(
    connection: &mut AnyConnection,
    sources: &[(&SiteId, &str)],
) -> Result<Vec<Alarm>, sqlx::Error> {
    let mut open = Vec::new();
    for chunk in chunks(sources) {
        let wanted = parameters(connection, chunk.len(), 2);
        // Made of literals and numbers only.
        let mut query = sqlx::query(AssertSqlSafe(format!(
            "with wanted (of_site, of_source) as (values {wanted}) update alarm set revision = revision from wanted \
             where site_id = of_site and source = of_source and state <> 'closed'{}",
            columns!()
        )));
        for (site, source) in chunk {
            query = query.bind(site.as_str()).bind(*source);
        }
        for row in query.fetch_all(&mut *connection).await? {
            open.push(from_row(&row)?);
        }
    }
    Ok(open)
}

/// An alarm by its id, held until the transaction ends.
pub(super) async fn load(connection: &mut AnyConnection, id: &AlarmId) -> Result<Option<Alarm>, sqlx::Error> {
    sqlx::query(concat!("update alarm set revision = revision where id = $1", columns!()))
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?
        .map(|row| from_row(&row))
        .transpose()
}

fn from_row(row: &AnyRow) -> Result<Alarm, sqlx::Error> {
    let text = |column| row.try_get::<String, _>(column);
    let acknowledged_ms: Option<i64> = row.try_get("acknowledged_ms")?;
    let acknowledged_by: Option<String> = row.try_get("acknowledged_by")?;
    Ok(Alarm {
        id: AlarmId::from_known(text("id")?),
        site_id: SiteId::from_known(text("site_id")?),
        region: RegionCode::from_known(text("region_code")?),
        source: text("source")?,
        device_id: row.try_get::<Option<String>, _>("device_id")?.map(DeviceId::from_known),
        kind: AlarmKind::from_name(&text("kind")?),
        course: Course {
            state: AlarmState::from_name(&text("state")?),
            sounding: row.try_get::<i64, _>("sounding")? != 0,
            late: row.try_get::<i64, _>("late")? != 0,
            presses: row.try_get("presses")?,
            occurred_ms: row.try_get("occurred_ms")?,
            raised_ms: row.try_get("raised_ms")?,
            last_press_ms: row.try_get("last_press_ms")?,
            acknowledged: acknowledged_ms.zip(acknowledged_by),
            closed: closing(row)?,
            revision: row.try_get("revision")?,
        },
        last_line: row.try_get("last_line")?,
    })
}

fn closing(row: &AnyRow) -> Result<Option<Closing>, sqlx::Error> {
    let Some(at_ms) = row.try_get::<Option<i64>, _>("closed_ms")? else {
        return Ok(None);
    };
    Ok(Some(Closing {
        at_ms,
        by: row.try_get::<Option<String>, _>("closed_by")?.unwrap_or_default(),
        reason: CloseReason::from_name(&row.try_get::<Option<String>, _>("close_reason")?.unwrap_or_default()),
        note: row.try_get("close_note")?,
    }))
}
