//! Which cameras see a place: what an alarm shows, and what the gateway saves of a press. Pure.
//!
//! Public and facility cameras by their distance, in steps, because a site's cameras often stand where the site was
//! marked and a metre says nothing; within a step, those that look towards the place first. A camera at a home is
//! thought of only for its own household, and then before all others: it was put there for this.

use std::cmp::Ordering;

use super::camera::CameraKind;
use crate::ids::{CameraId, DeviceId};

/// How many cameras an alarm shows: two, where there are two.
pub(super) const NEAREST_MAX: usize = 2;
/// Differences in distance below this are none: positions are marked on a map by hand.
const STEP_M: f64 = 20.0;
/// How far to the side of where it looks a camera sees: half of the 90 degrees of a common lens, and half as much again
/// for directions that were estimated.
const SIDE_DEGREES_MAX: f64 = 67.5;
/// Nearer than this a direction says nothing: the camera hangs above the place.
const UNDER_M: f64 = 5.0;
/// Mean radius of the earth.
const EARTH_M: f64 = 6_371_000.0;

/// A position, in WGS 84 degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) latitude: f64,
    pub(super) longitude: f64,
}

impl Point {
    /// The point, if both of its numbers are known.
    pub(super) fn known(latitude: Option<f64>, longitude: Option<f64>) -> Option<Self> {
        Some(Self { latitude: latitude?, longitude: longitude? })
    }
}

/// A camera that may be thought of.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: &'a CameraId,
    pub(super) kind: CameraKind,
    /// Its own position, else its site's; `None`: nobody knows.
    pub(super) at: Option<Point>,
    /// Where it looks, clockwise from north; `None`: all around, or nobody said.
    pub(super) direction_degrees: Option<i64>,
    /// Of a camera at a home: its devices.
    pub(super) household: &'a [DeviceId],
    /// Of a camera at a home: whether the household consents.
    pub(super) has_consent: bool,
}

/// What a candidate is compared by: the least is the best.
struct Rank<'a> {
    is_of_others: bool,
    /// Steps of distance; the farthest of all where nobody knows.
    steps: u64,
    looks: u8,
    distance_m: f64,
    id: &'a CameraId,
}

/// The cameras for a device at a place, the nearest first, at most [`NEAREST_MAX`]. `device`: `None` for something that
/// nobody could tell; `at`: the device's place, else its site's, if anybody knows.
pub(super) fn nearest(device: Option<&DeviceId>, at: Option<Point>, cameras: &[Candidate<'_>]) -> Vec<CameraId> {
    let mut ranks: Vec<Rank<'_>> = cameras.iter().filter_map(|camera| rank(device, at, camera)).collect();
    ranks.sort_by(Rank::compare);
    ranks.into_iter().take(NEAREST_MAX).map(|rank| rank.id.clone()).collect()
}

fn rank<'a>(device: Option<&DeviceId>, at: Option<Point>, camera: &Candidate<'a>) -> Option<Rank<'a>> {
    let is_home = camera.kind == CameraKind::Home;
    let is_of_household = device.is_some_and(|device| camera.household.contains(device));
    if is_home && !(is_of_household && camera.has_consent) {
        return None;
    }
    let (distance_m, looks) = match at.zip(camera.at) {
        Some((place, camera_at)) => {
            let (distance_m, bearing_degrees) = from_to(camera_at, place);
            (distance_m, looks_towards(camera.direction_degrees, distance_m, bearing_degrees))
        }
        None => (f64::INFINITY, 1),
    };
    // Far beyond any county the cast saturates, which is where the unknown belongs.
    let steps = (distance_m / STEP_M) as u64;
    Some(Rank { is_of_others: !is_home, steps, looks, distance_m, id: camera.id })
}

/// 0: it looks there. 1: it looks all around, or nobody knows. 2: it looks elsewhere.
fn looks_towards(direction_degrees: Option<i64>, distance_m: f64, bearing_degrees: f64) -> u8 {
    let Some(direction) = direction_degrees else { return 1 };
    if distance_m < UNDER_M {
        return 1;
    }
    let aside = (bearing_degrees - direction as f64).rem_euclid(360.0);
    let aside = aside.min(360.0 - aside);
    if aside <= SIDE_DEGREES_MAX { 0 } else { 2 }
}

/// Metres, and degrees clockwise from north. Flat within a county: an error below a thousandth.
fn from_to(from: Point, to: Point) -> (f64, f64) {
    let middle = f64::midpoint(from.latitude, to.latitude).to_radians();
    let north_m = (to.latitude - from.latitude).to_radians() * EARTH_M;
    let east_m = (to.longitude - from.longitude).to_radians() * middle.cos() * EARTH_M;
    (north_m.hypot(east_m), east_m.atan2(north_m).to_degrees())
}

impl Rank<'_> {
    fn compare(&self, other: &Self) -> Ordering {
        (self.is_of_others, self.steps, self.looks)
            .cmp(&(other.is_of_others, other.steps, other.looks))
            .then(self.distance_m.total_cmp(&other.distance_m))
            .then_with(|| self.id.cmp(other.id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// So many metres north and east of the village's square.
    fn point(north_m: f64, east_m: f64) -> Point {
        let latitude = 33.15 + (north_m / EARTH_M).to_degrees();
        let longitude = 114.0 + (east_m / (EARTH_M * 33.15_f64.to_radians().cos())).to_degrees();
        Point { latitude, longitude }
    }

    struct Camera(&'static str, CameraKind, Option<Point>, Option<i64>, &'static [&'static str], bool);

    fn of(device: Option<&str>, at: Option<Point>, cameras: &[Camera]) -> Vec<String> {
        let ids: Vec<CameraId> = cameras.iter().map(|camera| CameraId::from_known(camera.0)).collect();
        let households: Vec<Vec<DeviceId>> = cameras
            .iter()
            .map(|camera| camera.4.iter().map(|device| DeviceId::from_known(*device)).collect())
            .collect();
        let candidates: Vec<Candidate<'_>> = cameras
            .iter()
            .enumerate()
            .map(|(number, camera)| Candidate {
                id: &ids[number],
                kind: camera.1,
                at: camera.2,
                direction_degrees: camera.3,
                household: &households[number],
                has_consent: camera.5,
            })
            .collect();
        let device = device.map(DeviceId::from_known);
        nearest(device.as_ref(), at, &candidates).iter().map(ToString::to_string).collect()
    }

    fn public(id: &'static str, at: Option<Point>, direction: Option<i64>) -> Camera {
        Camera(id, CameraKind::Public, at, direction, &[], false)
    }

    #[test]
    fn the_two_nearest_of_many_the_nearest_first() {
        let cameras = [
            public("far", Some(point(500.0, 0.0)), None),
            public("near", Some(point(0.0, 50.0)), None),
            public("unknown", None, None),
            public("middle", Some(point(-120.0, 0.0)), None),
        ];
        assert_eq!(of(Some("d"), Some(point(0.0, 0.0)), &cameras), ["near", "middle"]);
        assert_eq!(of(None, Some(point(0.0, 0.0)), &cameras), ["near", "middle"], "a device need not be known");
        assert_eq!(of(None, Some(point(0.0, 0.0)), &cameras[2..3]), ["unknown"], "better one somewhere than none");
        assert!(of(None, None, &[]).is_empty());
    }

    #[test]
    fn of_those_equally_near_the_one_that_looks_there_wins() {
        let here = Some(point(0.0, 0.0));
        // 105 and 110 metres south of the place: north is where the place is.
        let cameras = [
            public("away", Some(point(-105.0, 0.0)), Some(180)),
            public("around", Some(point(-107.0, 0.0)), None),
            public("towards", Some(point(-110.0, 0.0)), Some(350)),
        ];
        assert_eq!(of(None, here, &cameras), ["towards", "around"]);
        let nearer =
            [public("away", Some(point(-50.0, 0.0)), Some(180)), public("towards", Some(point(-110.0, 0.0)), Some(0))];
        assert_eq!(of(None, here, &nearer), ["away", "towards"], "distance comes first");
    }

    #[test]
    fn directions_are_clockwise_from_north() {
        let here = Some(point(0.0, 0.0));
        // Each stands 105 m off and looks back at the place.
        for (north_m, east_m, direction) in [(-105.0, 0.0, 0), (0.0, -105.0, 90), (105.0, 0.0, 180), (0.0, 105.0, 270)]
        {
            let at = Some(point(north_m, east_m));
            let pair = [public("a", at, Some((direction + 180) % 360)), public("b", at, Some(direction))];
            assert_eq!(of(None, here, &pair), ["b", "a"], "{direction}");
        }
    }

    #[test]
    fn a_camera_at_a_home_is_only_for_its_household_and_only_with_consent() {
        let here = Some(point(0.0, 0.0));
        let cameras = [
            Camera("home", CameraKind::Home, None, None, &["d1", "d2"], true),
            Camera("silent", CameraKind::Home, here, None, &["d1"], false),
            public("square", Some(point(60.0, 0.0)), None),
        ];
        assert_eq!(of(Some("d1"), here, &cameras), ["home", "square"]);
        assert_eq!(of(Some("d3"), here, &cameras), ["square"]);
        assert_eq!(of(None, here, &cameras), ["square"]);
    }

    proptest! {
        #[test]
        fn any_numbers_give_an_order(numbers: [f64; 6], direction: Option<i64>) {
            let at = |index: usize| Some(Point { latitude: numbers[index], longitude: numbers[index + 1] });
            let cameras = [public("a", at(0), direction), public("b", at(2), None)];
            prop_assert_eq!(of(None, at(4), &cameras).len(), 2);
        }
    }
}
