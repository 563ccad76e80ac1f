//! Which trouble is the recorder's own, and so one fault and not one of each channel.
//!
//! A recorder without power leaves sixteen cameras unreachable, and one box to be mended. So what all its channels say alike
//! stands on the recorder (`recorder:<id>`, `recorder.unreachable`), and their own faults of that kind end. When one of them
//! says otherwise, the recorder's fault ends, and those that are still in trouble have their own again. Pure.

use std::collections::HashSet;

use tongluo_protocols::event::CameraState;

use super::address::Place;
use super::health;
use crate::fault;
use crate::ids::{CameraId, RecorderId, RegionCode, SiteId};

/// A recorder, and what its channels last said.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    pub(super) recorder: RecorderId,
    pub(super) place: Place,
    pub(super) site_id: SiteId,
    pub(super) region_code: RegionCode,
    /// Every camera of it.
    pub(super) cameras: Vec<Channel>,
}

/// One channel.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    pub(super) id: CameraId,
    pub(super) name: String,
    /// As last reported, whether or not that is still believed: so are faults.
    pub(super) state: String,
    /// The gateway's clock.
    pub(super) since_ms: i64,
    pub(super) detail: String,
    /// Whether its gateway knows of it: not of a home whose household does not consent.
    pub(super) is_told: bool,
}

/// What the room of faults is to be told, and since when it is so.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) report: fault::Report,
    /// The gateway's clock.
    pub(super) since_ms: i64,
}

/// The source under which faults of a recorder stand.
pub(super) fn fault_source(id: &RecorderId) -> String {
    format!("recorder:{id}")
}

/// Whether a camera that says so may mean its recorder.
pub(super) fn may_be_shared(state: &str) -> bool {
    matches!(CameraState::from_name(state), CameraState::Unreachable | CameraState::Refused | CameraState::ClockOff)
}

impl Channels {
    /// Under which sources its faults stand, and its channels'.
    pub(super) fn sources(&self) -> Vec<String> {
        let of_cameras = self.cameras.iter().map(|camera| super::fault_source(&camera.id));
        of_cameras.chain([fault_source(&self.recorder)]).collect()
    }

    /// What to tell of faults that may be shared, where `open` ones stand already (source and code): which end, which begin, and
    /// which are said again because one of the `heard` cameras said so.
    pub(super) fn tell(&self, open: &HashSet<(String, String)>, heard: &HashSet<CameraId>) -> Vec<Told> {
        let standing = self.standing();
        let ends = open.iter().filter(|key| is_of_shared(key)).filter_map(|(source, code)| {
            let stands = standing.iter().any(|(one, _)| one.report.source == *source && one.report.code == *code);
            (!stands).then(|| Told { report: self.report(source.clone(), code.clone(), None), since_ms: 0 })
        });
        let ends: Vec<Told> = ends.collect();
        let begins_or_goes_on = standing.into_iter().filter_map(|(one, says)| {
            let is_open = open.contains(&(one.report.source.clone(), one.report.code.clone()));
            (!is_open || says.iter().any(|id| heard.contains(*id))).then_some(one)
        });
        ends.into_iter().chain(begins_or_goes_on).collect()
    }

    /// The faults that must stand, each with the cameras that say so.
    fn standing(&self) -> Vec<(Told, Vec<&CameraId>)> {
        let own = self.own();
        let mut standing = Vec::new();
        if let Some(spokesman) = own {
            let says = self.saying(&spokesman.state).map(|camera| &camera.id).collect();
            let detail = super::fault_detail(&self.place.authority(), &spokesman.detail);
            let code = format!("recorder.{}", spokesman.state);
            let report = self.report(fault_source(&self.recorder), code, Some(detail));
            standing.push((Told { report, since_ms: spokesman.since_ms }, says));
        }
        for camera in &self.cameras {
            let is_recorders = own.is_some_and(|spokesman| spokesman.state == camera.state);
            if may_be_shared(&camera.state) && !is_recorders {
                let (code, detail) =
                    (format!("camera.{}", camera.state), super::fault_detail(&camera.name, &camera.detail));
                let report = self.report(super::fault_source(&camera.id), code, Some(detail));
                standing.push((Told { report, since_ms: camera.since_ms }, vec![&camera.id]));
            }
        }
        standing
    }

    /// The channel whose trouble, since when and in whose words, is the recorder's. `None`: what is wrong is the cameras' own.
    fn own(&self) -> Option<&Channel> {
        // A recorder of one camera is that camera.
        if self.cameras.iter().filter(|camera| camera.is_told).count() < 2 {
            return None;
        }
        // There is one clock for all of them, also for those that are silent about it: it was off when the first one said so.
        let clock = self.saying(CameraState::ClockOff.name()).min_by_key(|camera| camera.since_ms);
        clock.or_else(|| self.unanimous())
    }

    /// The last of at least two channels that all cannot be reached, or all are refused. One that is shown, or has trouble of
    /// its own, was answered: then the recorder is there, and its password right.
    fn unanimous(&self) -> Option<&Channel> {
        let mut voices = self.cameras.iter().filter(|camera| camera.is_told && has_a_word(&camera.state));
        let first = voices.next().filter(|first| may_be_shared(&first.state))?;
        let others: Vec<&Channel> = voices.collect();
        if others.is_empty() || others.iter().any(|camera| camera.state != first.state) {
            return None;
        }
        others.into_iter().chain([first]).max_by_key(|camera| camera.since_ms)
    }

    fn saying<'a>(&'a self, state: &'a str) -> impl Iterator<Item = &'a Channel> {
        self.cameras.iter().filter(move |camera| camera.is_told && camera.state == state)
    }

    fn report(&self, source: String, code: String, detail: Option<String>) -> fault::Report {
        fault::Report {
            site_id: self.site_id.clone(),
            region: self.region_code.clone(),
            device_id: None,
            source,
            code,
            active: detail.is_some(),
            detail: detail.unwrap_or_default(),
        }
    }
}

/// Whether a camera that is so has found out anything about its recorder.
fn has_a_word(state: &str) -> bool {
    state != health::NEW && !matches!(CameraState::from_name(state), CameraState::Starting)
}

fn is_of_shared((_, code): &(String, String)) -> bool {
    code.strip_prefix("camera.").or_else(|| code.strip_prefix("recorder.")).is_some_and(may_be_shared)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{VILLAGE, region};

    /// A recorder whose channels `c0`, `c1`… say so since 10, 11…; `-` before a state: its gateway is not told of that one.
    fn channels(states: &[&str]) -> Channels {
        let cameras = states.iter().enumerate().map(|(number, state)| Channel {
            id: CameraId::from_known(format!("c{number}")),
            name: format!("口{number}"),
            state: state.trim_start_matches('-').to_owned(),
            since_ms: 10 + i64::try_from(number).unwrap(),
            detail: "why".to_owned(),
            is_told: !state.starts_with('-'),
        });
        Channels {
            recorder: RecorderId::from_known("r".to_owned()),
            place: Place { host: "10.0.0.9".to_owned(), port: 8554 },
            site_id: SiteId::from_known("s".to_owned()),
            region_code: region(VILLAGE),
            cameras: cameras.collect(),
        }
    }

    fn open(keys: &[(&str, &str)]) -> HashSet<(String, String)> {
        keys.iter().map(|(source, code)| ((*source).to_owned(), (*code).to_owned())).collect()
    }

    /// What is told, sorted: `+` for what stands, with since when; `-` for what ends.
    fn told_of(channels: &Channels, open: &HashSet<(String, String)>, heard: &[&str]) -> Vec<String> {
        let heard = heard.iter().map(|id| CameraId::from_known((*id).to_owned())).collect();
        let mut told: Vec<String> = channels
            .tell(open, &heard)
            .into_iter()
            .map(|Told { report, since_ms }| match report.active {
                true => format!("+{} {} {since_ms}", report.source, report.code),
                false => format!("-{} {}", report.source, report.code),
            })
            .collect();
        told.sort();
        told
    }

    #[test]
    fn trouble_that_all_channels_share_is_the_recorders() {
        let table: &[(&[&str], &[&str])] = &[
            (&[], &[]),
            (&["ok", "frozen"], &[]),
            // A recorder of one camera is the camera.
            (&["unreachable"], &["+camera:c0 camera.unreachable 10"]),
            (&["clock_off"], &["+camera:c0 camera.clock_off 10"]),
            (&["unreachable", "-ok"], &["+camera:c0 camera.unreachable 10"]),
            // Since the last of them said so.
            (&["unreachable", "unreachable", "unreachable"], &["+recorder:r recorder.unreachable 12"]),
            (&["refused", "refused"], &["+recorder:r recorder.refused 11"]),
            // One that is answered shows that the recorder is there.
            (
                &["unreachable", "unreachable", "ok"],
                &["+camera:c0 camera.unreachable 10", "+camera:c1 camera.unreachable 11"],
            ),
            (&["refused", "no_such_stream"], &["+camera:c0 camera.refused 10"]),
            (&["refused", "unreachable"], &["+camera:c0 camera.refused 10", "+camera:c1 camera.unreachable 11"]),
            // Who has not found out anything neither agrees nor objects; one voice is not all.
            (&["starting", "unreachable", "new", "unreachable", "-ok"], &["+recorder:r recorder.unreachable 13"]),
            (&["unreachable", "starting"], &["+camera:c0 camera.unreachable 10"]),
            // There is one clock, and it was off when the first one said so, whatever else the others have to say.
            (&["ok", "clock_off", "clock_off", "frozen"], &["+recorder:r recorder.clock_off 11"]),
            (&["clock_off", "refused"], &["+camera:c1 camera.refused 11", "+recorder:r recorder.clock_off 10"]),
        ];
        for (states, expected) in table {
            assert_eq!(told_of(&channels(states), &open(&[]), &[]), *expected, "{states:?}");
        }
    }

    #[test]
    fn faults_go_over_from_the_cameras_to_the_recorder_and_back() {
        let cameras = open(&[("camera:c0", "camera.unreachable"), ("camera:c1", "camera.black")]);
        let down = channels(&["unreachable", "unreachable"]);
        let over = ["+recorder:r recorder.unreachable 11", "-camera:c0 camera.unreachable"];
        assert_eq!(told_of(&down, &cameras, &["c1"]), over, "what cannot be shared is left alone");

        let recorder = open(&[("recorder:r", "recorder.unreachable")]);
        let one_back = channels(&["ok", "unreachable"]);
        let back = ["+camera:c1 camera.unreachable 11", "-recorder:r recorder.unreachable"];
        assert_eq!(told_of(&one_back, &recorder, &["c0"]), back);
        assert_eq!(told_of(&channels(&[]), &recorder, &[]), ["-recorder:r recorder.unreachable"]);
        let refused = ["+recorder:r recorder.refused 11", "-recorder:r recorder.unreachable"];
        assert_eq!(told_of(&channels(&["refused", "refused"]), &recorder, &["c0"]), refused);
    }

    #[test]
    fn what_stands_is_said_again_only_by_who_says_so() {
        let recorder = open(&[("recorder:r", "recorder.unreachable")]);
        let down = channels(&["unreachable", "unreachable", "starting"]);
        assert!(told_of(&down, &recorder, &["c2"]).is_empty());
        assert_eq!(told_of(&down, &recorder, &["c0", "c1"]), ["+recorder:r recorder.unreachable 11"]);
        let cameras = open(&[("camera:c0", "camera.refused"), ("camera:c1", "camera.refused")]);
        let some = channels(&["refused", "refused", "ok"]);
        assert_eq!(told_of(&some, &cameras, &["c1", "c2"]), ["+camera:c1 camera.refused 11"]);
    }

    #[test]
    fn a_recorder_is_named_by_its_address_and_a_camera_by_its_name() {
        let details = |states: &[&str]| -> Vec<String> {
            let told = channels(states).tell(&HashSet::new(), &HashSet::new());
            told.into_iter().map(|one| one.report.detail).collect()
        };
        assert_eq!(details(&["unreachable", "unreachable"]), ["10.0.0.9:8554: why"]);
        assert_eq!(details(&["unreachable", "ok"]), ["口0: why"]);
    }
}
