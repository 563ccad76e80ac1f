//! The trouble of a recorder: one fault, and not one of each channel.

use tongluo_protocols::event::{CameraReport, CameraState};

use super::*;
use crate::ids::CameraId;

/// As many channels as a village's recorder has.
const CHANNELS: usize = 16;

/// A recorder with its channels, and how far the gateway's clock has come.
struct Recorder<'a> {
    village: &'a Village,
    id: String,
    cameras: Vec<String>,
    now_ms: i64,
}

impl<'a> Recorder<'a> {
    async fn enter(village: &'a Village, host: &str, channels: usize) -> Self {
        let (mut id, mut cameras) = (String::new(), Vec::new());
        for channel in 0..channels {
            let camera = village.enter(json!({"url": format!("rtsp://{host}/{channel}")})).await;
            id = camera["recorder_id"].as_str().unwrap().to_owned();
            cameras.push(camera["id"].as_str().unwrap().to_owned());
        }
        Self { village, id, cameras, now_ms: crate::clock::utc_ms() - 3_600_000 }
    }

    /// A second later these channels say, in one batch, that they are so.
    async fn say(&mut self, channels: std::ops::Range<usize>, state: CameraState<'_>) {
        self.now_ms += 1_000;
        let said = |camera| CameraReport {
            camera,
            state,
            since_ms: self.now_ms,
            detail: "as seen",
            main: None,
            sub: None,
            recorded_from_ms: None,
            recorded_bytes: None,
            last_frame_ms: None,
            heard_ms: self.now_ms,
        };
        let reports: Vec<_> = self.cameras[channels].iter().map(|camera| said(camera)).collect();
        self.village.hear(crate::clock::utc_ms(), &self.village.site, &reports).await;
    }

    /// How many faults of this code stand on cameras, and how many on recorders.
    async fn faults(&self, state: &str) -> (usize, usize) {
        let open = self.village.texts("select source || ' ' || code from fault where state = 'open'").await;
        let of = |kind: &str| {
            let is_it = |line: &&String| line.starts_with(kind) && line.ends_with(&format!("{kind}.{state}"));
            open.iter().filter(is_it).count()
        };
        let (cameras, recorders) = (of("camera"), of("recorder"));
        assert_eq!(open.len(), cameras + recorders, "and nothing else stands: {open:?}");
        (cameras, recorders)
    }

    async fn delete(&mut self, channel: usize) {
        let path = format!("/api/v1/cameras/{}", self.cameras.remove(channel));
        assert_eq!(self.village.ask("DELETE", &path, Value::Null).await.status, 204);
    }

    /// Another address for a channel, which is no longer this recorder's.
    async fn move_away(&mut self, channel: usize, url: &str) -> CameraId {
        let id = self.cameras.remove(channel);
        let answer = self.village.ask("PATCH", &format!("/api/v1/cameras/{id}"), json!({"url": url})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        CameraId::from_known(id)
    }
}

#[tokio::test]
async fn sixteen_channels_that_are_down_are_one_fault_until_one_comes_back() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let mut recorder = Recorder::enter(&village, "10.0.0.9:8554", CHANNELS).await;
        recorder.say(0..CHANNELS, CameraState::Ok).await;
        for channel in 0..CHANNELS - 1 {
            recorder.say(channel..channel + 1, CameraState::Unreachable).await;
            assert_eq!(recorder.faults("unreachable").await, (channel + 1, 0));
        }
        recorder.say(CHANNELS - 1..CHANNELS, CameraState::Unreachable).await;
        assert_eq!(recorder.faults("unreachable").await, (0, 1), "the last of them makes it the recorder's");
        let told = village.texts("select source || ' ' || detail from fault where state = 'open'").await;
        assert_eq!(told, [format!("recorder:{} 10.0.0.9:8554: as seen", recorder.id)]);
        let since = village.number("select first_ms from fault where state = 'open'").await;
        assert_eq!(since, recorder.now_ms, "since the last of them said so");
        let pages = village.texts("select body from event where kind = 'fault' order by sequence desc limit 1").await;
        assert!(pages[0].contains("recorder.unreachable") && pages[0].contains("\"open\""), "{pages:?}");

        recorder.say(0..CHANNELS, CameraState::Unreachable).await;
        assert_eq!(village.number("select count from fault where state = 'open'").await, 2, "once for a batch");
        assert_eq!(village.number("select first_ms from fault where state = 'open'").await, since);

        recorder.say(3..4, CameraState::Ok).await;
        assert_eq!(recorder.faults("unreachable").await, (CHANNELS - 1, 0), "each for itself again");
        const TRUTHFUL: &str = "select count(*) from fault f join camera c on f.source = 'camera:' || c.id \
             where f.state = 'open' and f.first_ms = c.state_since_ms";
        assert_eq!(village.number(TRUTHFUL).await, CHANNELS as i64 - 1, "since it says so itself");
        recorder.say(0..CHANNELS, CameraState::Ok).await;
        assert_eq!(recorder.faults("unreachable").await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_comes_in_one_batch_never_stood_on_the_cameras() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let mut recorder = Recorder::enter(&village, "10.0.0.9", CHANNELS).await;
        let mut other = Recorder::enter(&village, "10.0.0.10", 1).await;
        recorder.say(0..CHANNELS, CameraState::Refused).await;
        assert_eq!(recorder.faults("refused").await, (0, 1));
        assert_eq!(village.number("select count(*) from fault").await, 1);
        recorder.say(0..CHANNELS, CameraState::Ok).await;
        recorder.say(7..8, CameraState::ClockOff).await;
        assert_eq!(recorder.faults("clock_off").await, (0, 1), "there is one clock");
        recorder.say(7..8, CameraState::Ok).await;
        for state in [CameraState::Unreachable, CameraState::ClockOff] {
            other.say(0..1, state).await;
            assert_eq!(other.faults(state.name()).await, (1, 0), "a recorder of one camera is the camera");
        }
    })
    .await;
}

#[tokio::test]
async fn a_recorder_that_loses_cameras_keeps_no_fault_that_is_not_its_own() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let mut recorder = Recorder::enter(&village, "10.0.0.9", 5).await;
        recorder.say(0..4, CameraState::Unreachable).await;
        recorder.say(4..5, CameraState::Frozen).await;
        let moved = recorder.move_away(4, "rtsp://10.0.0.10/1").await;
        village.execute("delete from fault where code = 'camera.frozen'").await;
        assert_eq!(recorder.faults("unreachable").await, (0, 1), "who objected is not there any more");
        let back = json!({"url": "rtsp://10.0.0.9/9"});
        assert_eq!(village.ask("PATCH", &format!("/api/v1/cameras/{moved}"), back).await.status, 200);
        assert_eq!(recorder.faults("unreachable").await, (4, 0), "and here it is again");
        recorder.cameras.push(moved.to_string());
        recorder.delete(4).await;
        assert_eq!(recorder.faults("unreachable").await, (0, 1));

        let away = recorder.move_away(0, "rtsp://10.0.0.10/1").await;
        assert_eq!(recorder.faults("unreachable").await, (1, 1), "what moved has its own until it says otherwise");
        assert_eq!(village.ask("DELETE", &format!("/api/v1/cameras/{away}"), Value::Null).await.status, 204);
        assert_eq!(recorder.faults("unreachable").await, (0, 1));
        recorder.delete(0).await;
        assert_eq!(recorder.faults("unreachable").await, (0, 1), "two are left");
        recorder.delete(0).await;
        assert_eq!(recorder.faults("unreachable").await, (1, 0), "one is left, and is the recorder");
        let another = village.enter(json!({"url": "rtsp://10.0.0.9/7"})).await;
        recorder.cameras.push(another["id"].as_str().unwrap().to_owned());
        assert_eq!(recorder.faults("unreachable").await, (1, 0), "a new one has nothing to say yet");
        recorder.say(1..2, CameraState::Unreachable).await;
        assert_eq!(recorder.faults("unreachable").await, (0, 1));
        recorder.delete(0).await;
        recorder.delete(0).await;
        assert_eq!(recorder.faults("unreachable").await, (0, 0), "what is no more is not broken");
        assert_eq!(village.number("select count(*) from recorder").await, 0);
    })
    .await;
}

#[tokio::test]
async fn a_fault_that_somebody_cleared_in_vain_comes_back_as_one() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let mut recorder = Recorder::enter(&village, "10.0.0.9", 3).await;
        recorder.say(0..3, CameraState::Unreachable).await;
        let ids = village.texts("select id from fault where state = 'open'").await;
        let fault = crate::fault::FaultRoom { store: store.clone(), live: village.room.live.clone() };
        let faults = as_somebody(crate::fault::routes().with_state(fault), Some(viewer(Role::Administrator, VILLAGE)));
        let answer =
            ask(&faults, "POST", &format!("/api/v1/faults/{}/clear", ids[0]), json!({"note": "换了电源"})).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(recorder.faults("unreachable").await, (0, 0));
        recorder.say(1..2, CameraState::Unreachable).await;
        assert_eq!(recorder.faults("unreachable").await, (0, 1));
    })
    .await;
}
