//! What the configuration asks of this room: which streams to open, what to keep of them, and for how long.
//!
//! Every configured camera has one stream that is always open, because an alarm needs the thirty seconds before it and a
//! technician needs to know that the camera works: the recorded one, or else the smaller one into memory. Where the large one is
//! recorded the smaller one stands open beside it, as far as the recorder has sessions for that: it is what an alarm shows, and
//! one that has to be opened first shows nothing before its next keyframe. Any other stream is opened while somebody watches it.
//! A camera at a home is never written to disk without an alarm. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use tongluo_protocols::configuration::{self, Camera, CameraKind, Configuration, Recorder};
use tongluo_protocols::media::Quality;

use super::session::Address;

/// The most cameras that a gateway takes: 16 are planned for, and a few that a technician forgot to remove. What is beyond it is
/// not opened, and said.
const CAMERAS_MAX: usize = 64;

/// All cameras, by id.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Plan {
    pub(super) cameras: BTreeMap<Arc<str>, CameraPlan>,
    /// How many sessions each recorder serves, by the id of the recorder.
    pub(super) sessions_max: BTreeMap<Arc<str>, u8>,
}

/// One camera.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct CameraPlan {
    pub(super) recorder: Arc<str>,
    pub(super) main: Address,
    pub(super) sub: Option<Address>,
    /// What is written to disk.
    pub(super) record: Option<Record>,
    /// Whether its sound is taken, too.
    pub(super) audio: bool,
    /// Whether the smaller stream stands open beside the large one that is recorded.
    pub(super) sub_stands_by: bool,
}

/// How a camera is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) quality: Quality,
    pub(super) limits: Limits,
}

/// How much of a camera is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Limits {
    /// Recordings older than this go; 0: no limit of age.
    pub(crate) days_max: u16,
    /// Above so many bytes the oldest go; 0: only the gateway's whole budget counts.
    pub(crate) bytes_max: u64,
}

impl CameraPlan {
    /// The stream that is always open.
    pub(super) fn standing(&self) -> Quality {
        match self.record {
            Some(record) => record.quality,
            None if self.sub.is_some() => Quality::Sub,
            None => Quality::Main,
        }
    }

    /// Whether a stream is open even if nobody watches.
    pub(super) fn stands(&self, quality: Quality) -> bool {
        quality == self.standing() || (quality == Quality::Sub && self.sub_stands_by)
    }

    /// Where a stream is; the main one stands in where there is no other.
    pub(super) fn address(&self, quality: Quality) -> &Address {
        match quality {
            Quality::Main => &self.main,
            Quality::Sub => self.sub.as_ref().unwrap_or(&self.main),
        }
    }

    /// The stream that really serves a quality.
    pub(super) fn served(&self, quality: Quality) -> Quality {
        if self.sub.is_some() { quality } else { Quality::Main }
    }
}

impl Plan {
    /// What a configuration asks for. A camera whose address cannot be one is left out, and said.
    pub(super) fn of(configuration: &Configuration) -> Self {
        let mut plan = Self::default();
        for recorder in &configuration.recorders {
            plan.sessions_max.insert(recorder.id.as_str().into(), recorder.sessions_max);
        }
        for camera in &configuration.cameras {
            if plan.cameras.len() == CAMERAS_MAX {
                tracing::error!(
                    camera.id = camera.id,
                    camera.max = CAMERAS_MAX,
                    "more cameras are configured than are served"
                );
                break;
            }
            match configuration.recorder(&camera.recorder_id).and_then(|recorder| planned(camera, recorder)) {
                Some(planned) => drop(plan.cameras.insert(camera.id.as_str().into(), planned)),
                None => tracing::error!(camera.id = camera.id, "a camera is configured whose address is none"),
            }
        }
        plan.stand_by();
        plan
    }

    /// Decides which smaller streams stand open beside the recorded ones: the first cameras', while one session of their recorder
    /// stays free for who watches and tries. A recorder whose limit nobody entered has sessions enough, or says so itself.
    fn stand_by(&mut self) {
        for (recorder, max) in &self.sessions_max {
            let is_here = |camera: &&mut CameraPlan| camera.recorder == *recorder;
            let mut taken = self.cameras.values_mut().filter(is_here).count();
            for camera in self.cameras.values_mut().filter(is_here) {
                let could = camera.sub.is_some() && camera.standing() == Quality::Main;
                camera.sub_stands_by = could && (*max == 0 || taken + 1 < usize::from(*max));
                taken += usize::from(camera.sub_stands_by);
            }
        }
    }
}

fn planned(camera: &Camera, recorder: &Recorder) -> Option<CameraPlan> {
    let credentials =
        recorder.username.clone().map(|username| (username, recorder.password.clone().unwrap_or_default()));
    // An IPv6 address stands in brackets in a URL.
    let host = if recorder.host.contains(':') { format!("[{}]", recorder.host) } else { recorder.host.clone() };
    let address = |path: &str| {
        let slash = if path.starts_with('/') { "" } else { "/" };
        Address::parse(&format!("rtsp://{host}:{}{slash}{path}", recorder.port), credentials.clone()).ok()
    };
    let sub = match &camera.sub_path {
        Some(path) => Some(address(path)?),
        None => None,
    };
    let limits = Limits { days_max: camera.days_max, bytes_max: camera.bytes_max };
    let quality = match camera.record {
        // Without an alarm nothing of a home goes to disk, whatever is configured.
        _ if camera.kind == CameraKind::Home => None,
        configuration::Record::Off => None,
        configuration::Record::Sub if sub.is_some() => Some(Quality::Sub),
        configuration::Record::Main | configuration::Record::Sub => Some(Quality::Main),
    };
    let record = quality.map(|quality| Record { quality, limits });
    Some(CameraPlan {
        recorder: camera.recorder_id.as_str().into(),
        main: address(&camera.main_path)?,
        sub,
        record,
        // What is said at home stays there, whatever is configured.
        audio: camera.audio && camera.kind != CameraKind::Home,
        sub_stands_by: false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configured(change: impl FnOnce(&mut Camera, &mut Recorder)) -> Configuration {
        let mut recorder = Recorder {
            id: "r1".to_owned(),
            host: "192.0.2.7".to_owned(),
            port: 8554,
            username: Some("viewer".to_owned()),
            password: Some("p@ss".to_owned()),
            sessions_max: 6,
        };
        let mut camera = Camera {
            id: "c1".to_owned(),
            recorder_id: "r1".to_owned(),
            name: "村口".to_owned(),
            main_path: "/Streaming/Channels/101?a=b".to_owned(),
            sub_path: Some("/Streaming/Channels/102".to_owned()),
            kind: CameraKind::Public,
            record: configuration::Record::Main,
            days_max: 7,
            bytes_max: 1 << 30,
            audio: false,
            household: vec![],
        };
        change(&mut camera, &mut recorder);
        Configuration { recorders: vec![recorder], cameras: vec![camera], ..Configuration::default() }
    }

    fn kept(change: impl FnOnce(&mut Camera, &mut Recorder)) -> Option<(Quality, Option<Quality>)> {
        let plan = Plan::of(&configured(change));
        plan.cameras.get("c1").map(|camera| (camera.standing(), camera.record.map(|record| record.quality)))
    }

    #[test]
    fn each_camera_has_one_standing_stream_and_homes_are_never_written() {
        use configuration::Record::{Main, Off, Sub};
        assert_eq!(kept(|_, _| {}), Some((Quality::Main, Some(Quality::Main))));
        assert_eq!(kept(|camera, _| camera.record = Sub), Some((Quality::Sub, Some(Quality::Sub))));
        assert_eq!(kept(|camera, _| camera.record = Off), Some((Quality::Sub, None)));
        assert_eq!(kept(|camera, _| (camera.record, camera.sub_path) = (Off, None)), Some((Quality::Main, None)));
        let no_sub = kept(|camera, _| (camera.record, camera.sub_path) = (Sub, None));
        assert_eq!(no_sub, Some((Quality::Main, Some(Quality::Main))));
        let home = kept(|camera, _| (camera.kind, camera.record) = (CameraKind::Home, Main));
        assert_eq!(home, Some((Quality::Sub, None)));
    }

    #[test]
    fn the_smaller_stream_stands_by_where_the_recorder_has_a_session_left_over() {
        let standing_by = |sessions_max, cameras: usize| {
            let mut configuration = configured(|_, recorder| recorder.sessions_max = sessions_max);
            let camera = configuration.cameras.remove(0);
            configuration.cameras = (0..cameras).map(|i| Camera { id: format!("c{i}"), ..camera.clone() }).collect();
            Plan::of(&configuration).cameras.values().filter(|camera| camera.stands(Quality::Sub)).count()
        };
        assert_eq!(standing_by(4, 1), 1, "main, sub, and two for who watches");
        assert_eq!(standing_by(2, 1), 0, "the other session is for who watches");
        assert_eq!(standing_by(8, 4), 3);
        assert_eq!(standing_by(4, 6), 0);
        assert_eq!(standing_by(0, 6), 6, "nobody entered a limit");
        let plan = Plan::of(&configured(|camera, _| camera.kind = CameraKind::Home));
        assert!(!plan.cameras["c1"].stands(Quality::Main), "a home's smaller stream is the only one");
    }

    #[test]
    fn addresses_are_put_together_and_carry_the_recorders_credentials() {
        let plan = Plan::of(&configured(|camera, _| camera.main_path = "live/1".to_owned()));
        let expected = Address::parse("rtsp://192.0.2.7:8554/live/1", Some(("viewer".to_owned(), "p@ss".to_owned())));
        assert_eq!(Ok(plan.cameras["c1"].main.clone()), expected);
        let plan = Plan::of(&configured(|_, recorder| recorder.host = "fd00::7".to_owned()));
        assert_eq!(plan.cameras["c1"].main.host(), ("[fd00::7]".to_owned(), 8554));
        assert_eq!(plan.sessions_max["r1"], 6);
    }

    #[test]
    fn what_cannot_be_an_address_is_left_out() {
        assert_eq!(kept(|_, recorder| recorder.host = String::new()), None);
        assert_eq!(kept(|_, recorder| recorder.host = "a b".to_owned()), None);
        assert_eq!(kept(|camera, _| camera.recorder_id = "r9".to_owned()), None);
    }

    #[test]
    fn so_many_cameras_and_no_more() {
        let mut configuration = configured(|_, _| {});
        let camera = configuration.cameras.remove(0);
        configuration.cameras =
            (0..CAMERAS_MAX + 3).map(|i| Camera { id: format!("c{i}"), ..camera.clone() }).collect();
        assert_eq!(Plan::of(&configuration).cameras.len(), CAMERAS_MAX);
    }
}
