//! What a press sets off: which pictures and clips, and which of them it shares with presses before it. Pure.

use tongluo_protocols::configuration::{ANY_DEVICE, Configuration};

/// A clip begins so long before its press.
pub(super) const BEFORE_MS: i64 = 30_000;
/// A clip ends so long after its last press.
pub(super) const AFTER_MS: i64 = 60_000;
/// A clip that presses keep extending ends here, and the next press begins a new one: a file must get across one day.
pub(super) const CLIP_MS_MAX: i64 = 300_000;
/// Presses so close to another share its snapshot: somebody who is afraid presses many times.
const SNAPSHOT_SHARED_MS: i64 = 2_000;
/// Cameras that look at one press.
const CAMERAS_MAX: usize = 2;

/// What is made of a press by one camera.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Snapshot,
    Clip,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Snapshot, Self::Clip];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Clip => "clip",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something that is being made already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Begun {
    pub(super) item: i64,
    pub(super) from_ms: i64,
    pub(super) to_ms: i64,
}

/// What to do for one camera and one kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Plan {
    /// Make a new one of this span.
    Begin { from_ms: i64, to_ms: i64 },
    /// Share one that is being made, which now reaches to here.
    Join { item: i64, to_ms: i64 },
}

/// The cameras that look at a device, nearest first.
pub(super) fn cameras_of<'a>(configuration: &'a Configuration, device: &str) -> &'a [String] {
    let of = |wanted: &str| configuration.watch.iter().find(|watch| watch.device == wanted);
    let cameras = of(device).or_else(|| of(ANY_DEVICE)).map_or(&[][..], |watch| &watch.cameras);
    &cameras[..cameras.len().min(CAMERAS_MAX)]
}

/// What a press at `pressed_ms` makes of one camera, when `begun` are those of this kind and camera that are not made yet.
pub(super) fn plan(kind: Kind, pressed_ms: i64, begun: &[Begun]) -> Plan {
    match kind {
        Kind::Snapshot => {
            let near = |begun: &&Begun| begun.from_ms.abs_diff(pressed_ms) <= SNAPSHOT_SHARED_MS.unsigned_abs();
            match begun.iter().find(near) {
                Some(begun) => Plan::Join { item: begun.item, to_ms: begun.to_ms },
                None => Plan::Begin { from_ms: pressed_ms, to_ms: pressed_ms },
            }
        }
        Kind::Clip => {
            let (from_ms, to_ms) = (pressed_ms - BEFORE_MS, pressed_ms + AFTER_MS);
            let covers = |begun: &&Begun| begun.from_ms <= from_ms && from_ms <= begun.to_ms;
            let fits = |begun: &&Begun| to_ms - begun.from_ms <= CLIP_MS_MAX;
            match begun.iter().filter(covers).find(fits) {
                Some(begun) => Plan::Join { item: begun.item, to_ms: begun.to_ms.max(to_ms) },
                None => Plan::Begin { from_ms, to_ms },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tongluo_protocols::configuration::DeviceCameras;

    use super::*;

    const CLIP: Begun = Begun { item: 7, from_ms: 70_000, to_ms: 160_000 };

    #[test]
    fn a_press_takes_half_a_minute_before_it_and_a_minute_after() {
        assert_eq!(plan(Kind::Clip, 100_000, &[]), Plan::Begin { from_ms: 70_000, to_ms: 160_000 });
        assert_eq!(plan(Kind::Snapshot, 100_000, &[]), Plan::Begin { from_ms: 100_000, to_ms: 100_000 });
    }

    #[test]
    fn presses_within_a_clip_share_it_up_to_five_minutes() {
        assert_eq!(plan(Kind::Clip, 140_000, &[CLIP]), Plan::Join { item: 7, to_ms: 200_000 });
        let long = Begun { to_ms: 370_000, ..CLIP };
        assert_eq!(plan(Kind::Clip, 310_000, &[long]), Plan::Join { item: 7, to_ms: 370_000 });
        assert_eq!(plan(Kind::Clip, 310_001, &[long]), Plan::Begin { from_ms: 280_001, to_ms: 370_001 });
    }

    #[test]
    fn a_press_after_a_clip_or_before_it_has_its_own() {
        assert!(matches!(plan(Kind::Clip, 190_001, &[CLIP]), Plan::Begin { .. }));
        assert!(matches!(plan(Kind::Clip, 99_999, &[CLIP]), Plan::Begin { .. }), "it would lack its beginning");
    }

    #[test]
    fn presses_at_once_share_a_snapshot() {
        let begun = Begun { item: 3, from_ms: 100_000, to_ms: 100_000 };
        assert_eq!(plan(Kind::Snapshot, 102_000, &[begun]), Plan::Join { item: 3, to_ms: 100_000 });
        assert!(matches!(plan(Kind::Snapshot, 102_001, &[begun]), Plan::Begin { .. }));
    }

    #[test]
    fn a_device_has_its_own_cameras_or_those_of_any() {
        let watch = |device: &str, cameras: &[&str]| DeviceCameras {
            device: device.to_owned(),
            cameras: cameras.iter().map(|&camera| camera.to_owned()).collect(),
        };
        let configuration = Configuration {
            watch: vec![watch(ANY_DEVICE, &["gate"]), watch("zigbee:1", &["a", "b", "c"])],
            ..Configuration::default()
        };
        assert_eq!(cameras_of(&configuration, "zigbee:1"), ["a", "b"]);
        assert_eq!(cameras_of(&configuration, "zigbee:2"), ["gate"]);
        assert_eq!(cameras_of(&Configuration::default(), "zigbee:2"), [""; 0]);
    }
}
