//! The document that a gateway is to follow: its recorders and cameras, which camera looks at which button,
//! its loudspeakers, and what a press sets off.
//!
//! The hub builds it for one site and names it, by its SHA-256, in a signed
//! [`ConfigurationOrder`](crate::order::ConfigurationOrder); the gateway fetches the bytes over its HTTPS connection and
//! checks them against the order, so nothing in between can alter them. It carries passwords: both ends keep it closed to
//! others, and no `Debug` shows them. It grows in place: keys that are not known are passed over, lists that are missing are
//! empty.

mod number;
mod voice;

pub use voice::{NamedSound, Night, Response, ResponseKind, Speaker, SpeakerKind};

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use minicbor::{Decode, Encode};

use crate::Error;
use crate::cbor;
use number::number;

/// The longest document in bytes: some hundred cameras with everything that belongs to them. Neither end takes a longer one.
pub const CONFIGURATION_BYTES_MAX: usize = 256 * 1024;

/// Stands for any device of the site that is not named.
pub const ANY_DEVICE: &str = "*";

/// What one site's gateway is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Configuration {
    /// Which edition it is, counted from 1; 0 before there was any.
    #[n(1)]
    pub revision: u64,
    /// The site it is for.
    #[n(2)]
    #[cbor(default)]
    pub site_id: String,
    /// The code of the region that the site lies in; empty if it was not said.
    #[n(3)]
    #[cbor(default)]
    pub region_code: String,
    /// What cameras are reached through: recorders, and cameras that stand alone.
    #[n(4)]
    #[cbor(default)]
    pub recorders: Vec<Recorder>,
    /// The cameras.
    #[n(5)]
    #[cbor(default)]
    pub cameras: Vec<Camera>,
    /// Which cameras look at which device.
    #[n(6)]
    #[cbor(default)]
    pub watch: Vec<DeviceCameras>,
    /// The loudspeakers.
    #[n(7)]
    #[cbor(default)]
    pub speakers: Vec<Speaker>,
    /// What a press of each device sets off.
    #[n(8)]
    #[cbor(default)]
    pub responses: Vec<Response>,
    /// Sounds that are to be at hand.
    #[n(9)]
    #[cbor(default)]
    pub sounds: Vec<NamedSound>,
    /// When nothing but danger may be heard. `None`: as [`Night::default`].
    #[n(10)]
    pub night: Option<Night>,
}

/// A recorder with channels, or a camera that stands alone and is its own.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Recorder {
    /// Its name in this document and in reports; opaque.
    #[n(1)]
    pub id: String,
    /// Where it is in the village's network: a name or an address.
    #[n(2)]
    pub host: String,
    /// Its RTSP port.
    #[n(3)]
    pub port: u16,
    /// Who logs in, if anybody has to.
    #[n(4)]
    pub username: Option<String>,
    /// With which password.
    #[n(5)]
    pub password: Option<String>,
    /// How many streams it gives at once.
    #[n(6)]
    pub sessions_max: u8,
}

/// A channel of a recorder. The paths of cheaper cameras hold their passwords: they are not shown either.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Camera {
    /// Its name everywhere; opaque, ASCII, at most 64 bytes.
    #[n(1)]
    pub id: String,
    /// The recorder it is reached through.
    #[n(2)]
    pub recorder_id: String,
    /// What people call it.
    #[n(3)]
    pub name: String,
    /// Path and query of the main stream's RTSP URL, with the leading slash.
    #[n(4)]
    pub main_path: String,
    /// The same of the smaller stream, if there is one.
    #[n(5)]
    pub sub_path: Option<String>,
    /// Where it looks.
    #[n(6)]
    pub kind: CameraKind,
    /// What is kept of it on the gateway.
    #[n(7)]
    pub record: Record,
    /// For how many days at most.
    #[n(8)]
    pub days_max: u16,
    /// In how many bytes at most.
    #[n(9)]
    pub bytes_max: u64,
    /// Whether its sound is taken, too. Off unless somebody decided otherwise.
    #[n(10)]
    #[cbor(default)]
    pub audio: bool,
    /// The devices of the household it belongs to, by their keys; only for a camera at a home.
    #[n(11)]
    #[cbor(default)]
    pub household: Vec<String>,
}

/// Which cameras look at a device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct DeviceCameras {
    /// The device's key, or [`ANY_DEVICE`].
    #[n(1)]
    pub device: String,
    /// The cameras' ids, the nearest first; at most two.
    #[n(2)]
    #[cbor(default)]
    pub cameras: Vec<String>,
}

number! {
    /// Where a camera looks. One of an unknown kind is treated as one at a home.
    CameraKind {
        /// At public ground.
        Public = 1,
        /// At a facility: a pump, a school's gate.
        Facility = 2,
        /// At somebody's home: nothing of it is kept without an alarm of its household.
        Home = 3
    } else Home
}

number! {
    /// What is kept of a camera. What is unknown keeps nothing.
    Record {
        /// Nothing.
        Off = 0,
        /// The main stream.
        Main = 1,
        /// The smaller stream.
        Sub = 2
    } else Off
}

impl fmt::Debug for Camera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, recorder_id, kind, record, .. } = self;
        f.debug_struct("Camera")
            .field("id", id)
            .field("recorder_id", recorder_id)
            .field("kind", kind)
            .field("record", record)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, host, port, sessions_max, .. } = self;
        f.debug_struct("Recorder")
            .field("id", id)
            .field("host", host)
            .field("port", port)
            .field("sessions_max", sessions_max)
            .finish_non_exhaustive()
    }
}

impl Configuration {
    /// Reads a document, which must be all of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > CONFIGURATION_BYTES_MAX {
            let found = bytes.len();
            return Err(Error::TooLarge { what: "a configuration in bytes", found, max: CONFIGURATION_BYTES_MAX });
        }
        cbor::parse("configuration", bytes)
    }

    /// The document's bytes. The same configuration always has the same bytes.
    pub fn emit(&self) -> Result<Vec<u8>, Error> {
        let bytes = minicbor::to_vec(self).expect("memory takes whatever is written");
        if bytes.len() > CONFIGURATION_BYTES_MAX {
            let found = bytes.len();
            return Err(Error::TooLarge { what: "a configuration in bytes", found, max: CONFIGURATION_BYTES_MAX });
        }
        Ok(bytes)
    }

    /// The recorder of this id.
    pub fn recorder(&self, id: &str) -> Option<&Recorder> {
        self.recorders.iter().find(|recorder| recorder.id == id)
    }

    /// The loudspeaker of this id.
    pub fn speaker(&self, id: &str) -> Option<&Speaker> {
        self.speakers.iter().find(|speaker| speaker.id == id)
    }

    /// What a press of a device sets off. `None`: its light, and nothing else.
    pub fn response_of(&self, device: &str) -> Option<&Response> {
        let of = |key: &str| self.responses.iter().find(|response| response.device == key);
        of(device).or_else(|| of(ANY_DEVICE))
    }

    /// The sound of this name.
    pub fn sound(&self, name: &str) -> Option<&NamedSound> {
        self.sounds.iter().find(|sound| sound.name == name)
    }

    /// When nothing but danger may be heard.
    pub fn night(&self) -> Night {
        self.night.unwrap_or_default()
    }

    /// The cameras that look at a device, the nearest first.
    pub fn cameras_of(&self, device: &str) -> impl Iterator<Item = &Camera> {
        let of = |key: &str| self.watch.iter().find(|watch| watch.device == key);
        let ids = of(device).or_else(|| of(ANY_DEVICE)).map_or(&[][..], |watch| &watch.cameras);
        ids.iter().filter_map(|id| self.cameras.iter().find(|camera| camera.id == *id))
    }
}

#[cfg(test)]
mod tests {
    use alloc::borrow::ToOwned as _;
    use alloc::{format, vec};

    use proptest::prelude::*;

    use super::*;
    use crate::device::speaker::Key;
    use crate::id::ContentId;

    fn configuration() -> Configuration {
        let camera = |id: &str| Camera {
            id: id.to_owned(),
            recorder_id: "r1".to_owned(),
            name: "村口".to_owned(),
            main_path: "/Streaming/Channels/101".to_owned(),
            sub_path: None,
            kind: CameraKind::Public,
            record: Record::Main,
            days_max: 7,
            bytes_max: 1 << 34,
            audio: false,
            household: vec![],
        };
        Configuration {
            revision: 3,
            site_id: "s1te".to_owned(),
            region_code: "411728102201".to_owned(),
            recorders: vec![Recorder {
                id: "r1".to_owned(),
                host: "192.0.2.7".to_owned(),
                port: 554,
                username: Some("viewer".to_owned()),
                password: Some("ma1n-gate".to_owned()),
                sessions_max: 4,
            }],
            cameras: vec![camera("c1"), camera("c2")],
            watch: vec![
                DeviceCameras { device: "zigbee:0x1".to_owned(), cameras: vec!["c2".to_owned(), "gone".to_owned()] },
                DeviceCameras { device: ANY_DEVICE.to_owned(), cameras: vec!["c1".to_owned()] },
            ],
            speakers: vec![Speaker {
                id: "sp1".to_owned(),
                name: "村口".to_owned(),
                kind: SpeakerKind::Mqtt,
                device: "TLS-0001".to_owned(),
                key: Some(Key::new([0xa7; 32])),
                volume_percent: 80,
                warm_up_ms: 0,
            }],
            responses: vec![
                Response {
                    device: "zigbee:0x1".to_owned(),
                    kind: ResponseKind::Siren,
                    speaks: true,
                    speakers: vec!["sp1".to_owned()],
                    siren_s: 60,
                },
                Response { device: ANY_DEVICE.to_owned(), ..Response::default() },
            ],
            sounds: vec![NamedSound {
                name: "sent".to_owned(),
                content: ContentId([3; 32]),
                bytes: 96_044,
                content_ms: 3_000,
            }],
            night: Some(Night { from_minute: 21 * 60, to_minute: 7 * 60 }),
        }
    }

    #[test]
    fn it_comes_back_as_it_went() {
        let bytes = configuration().emit().unwrap();
        assert_eq!(Configuration::parse(&bytes), Ok(configuration()));
        assert_eq!(Configuration::parse(&bytes).unwrap().emit().unwrap(), bytes);
    }

    #[test]
    fn known_bytes_of_the_least_and_of_what_has_grown() {
        let least = Configuration { revision: 1, ..Configuration::default() };
        assert_eq!(Configuration::parse(&[0xa1, 1, 1]), Ok(least.clone()));
        assert_eq!(
            least.emit().unwrap(),
            [0xa9, 1, 1, 2, 0x60, 3, 0x60, 4, 0x80, 5, 0x80, 6, 0x80, 7, 0x80, 8, 0x80, 9, 0x80]
        );
        assert_eq!(Configuration::parse(&[0xa2, 1, 1, 0x18, 77, 0x81, 0xf5]), Ok(least));
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = format!("{:?}", configuration());
        assert!(!shown.contains("ma1n-gate") && !shown.contains("viewer"), "{shown}");
        assert!(!shown.contains("167") && !shown.contains("a7"), "a loudspeaker's key is shown: {shown}");
    }

    #[test]
    fn what_is_not_known_harms_least() {
        assert!(matches!(minicbor::decode(&[9]), Ok(CameraKind::Home)));
        assert!(matches!(minicbor::decode(&[9]), Ok(Record::Off)));
        assert!(matches!(minicbor::decode(&[9]), Ok(ResponseKind::Silent)));
        assert!(matches!(minicbor::decode(&[9]), Ok(SpeakerKind::Mqtt)));
    }

    #[test]
    fn a_device_that_is_not_named_is_any_device() {
        let configuration = configuration();
        let ids = |device| configuration.cameras_of(device).map(|camera| camera.id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids("zigbee:0x1"), ["c2"]);
        assert_eq!(ids("zigbee:0x2"), ["c1"]);
    }

    #[test]
    fn a_press_sets_off_what_was_chosen_for_its_device() {
        let configuration = configuration();
        assert_eq!(configuration.response_of("zigbee:0x1").map(|response| response.kind), Some(ResponseKind::Siren));
        assert_eq!(configuration.response_of("zigbee:0x2").map(|response| response.kind), Some(ResponseKind::Silent));
        assert_eq!(Configuration::default().response_of("zigbee:0x1"), None);
        assert_eq!(configuration.speaker("sp1").map(|speaker| speaker.volume_percent), Some(80));
        assert_eq!(configuration.sound("sent").map(|sound| sound.bytes), Some(96_044));
        assert_eq!((configuration.speaker("sp2"), configuration.sound("taken")), (None, None));
    }

    #[test]
    fn a_document_is_bounded() {
        let mut configuration = configuration();
        configuration.cameras[0].name = "x".repeat(CONFIGURATION_BYTES_MAX);
        assert!(configuration.emit().is_err());
        assert!(matches!(Configuration::parse(&vec![0; CONFIGURATION_BYTES_MAX + 1]), Err(Error::TooLarge { .. })));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let _ = Configuration::parse(&bytes);
        }

        #[test]
        fn no_changed_document_panics(at: prop::sample::Index, value: u8) {
            let mut bytes = configuration().emit().unwrap();
            let at = at.index(bytes.len());
            bytes[at] = value;
            let _ = Configuration::parse(&bytes);
        }
    }
}
