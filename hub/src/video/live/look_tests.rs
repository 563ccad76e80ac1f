//! A look through a real socket: what it leaves in the audit trail, and what ends it while it is open.

use super::socket_tests::{Hub, LIVE, PATIENCE, PLAYBACK, Socket, is_open, reason};
use crate::clock;
use crate::store::testing::{VILLAGE, each_store, region};
use crate::viewer::Role;

/// As the trail has it, without who.
const LOOKS: &str = "select action || ' ' || subject || ' ' || outcome || ' ' || detail from audit \
     where action like 'camera.%' or action like 'recording.%' order by id";

impl Hub {
    async fn looks(&self) -> Vec<String> {
        sqlx::query_scalar(LOOKS).fetch_all(self.store.reader()).await.unwrap()
    }

    /// Waits until the trail has so many lines.
    async fn looks_of(&self, lines: usize) -> Vec<String> {
        let waiting = async {
            loop {
                let looks = self.looks().await;
                if looks.len() >= lines {
                    return looks;
                }
                clock::pause(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the looks are written down")
    }

    /// Makes the camera one at a home that consents, whose button has raised an alarm.
    async fn becomes_a_home(&self) {
        for sql in [
            "insert into device (id, site_id, key, family, kind, first_heard_ms, last_heard_ms) \
             values ('d1', 'site1', 'zigbee:1', 'zigbee2mqtt', 'button', 0, 0)",
            "update camera set kind = 'home', consent_ms = 1 where id = 'c1'",
            "insert into camera_household (camera_id, device_id) values ('c1', 'd1')",
            "insert into alarm (id, site_id, region_code, source, device_id, kind, state, sounding, late, presses, \
             occurred_ms, raised_ms, last_press_ms, revision) \
             values ('a1', 'site1', '411728102201', 'zigbee:1', 'd1', 'sos', 'unacknowledged', 1, 0, 1, 0, 0, 0, 1)",
        ] {
            self.execute(sql).await;
        }
    }

    /// Both kinds of socket, open.
    async fn both(&self, cookie: &str) -> [Socket; 2] {
        let mut opened = [self.open(LIVE, cookie).await.unwrap(), self.open(PLAYBACK, cookie).await.unwrap()];
        for socket in &mut opened {
            assert!(is_open(socket).await);
        }
        opened
    }
}

/// The reason with which both end.
async fn reasons([live, playback]: &mut [Socket; 2]) -> [String; 2] {
    [reason(live).await, reason(playback).await]
}

#[tokio::test]
async fn each_look_is_in_the_trail_from_its_beginning_to_its_end() {
    each_store(async |store| {
        let hub = Hub::start(&store).await;
        let mut lines = 0;
        for (path, watch) in [(LIVE, "camera.watch"), (PLAYBACK, "recording.watch")] {
            let mut socket = hub.open(path, &hub.cookie).await.unwrap();
            let looks = hub.looks().await;
            assert_eq!(looks.len(), lines + 1, "it is written before anything is shown: {looks:?}");
            assert_eq!(looks[lines], format!("{watch} c1 done quality=main"));
            assert!(is_open(&mut socket).await);
            assert_eq!(hub.looks().await.len(), lines + 1, "and has no end while it lasts");
            socket.close(None).await.unwrap();
            let looks = hub.looks_of(lines + 2).await;
            let ended = looks[lines + 1].strip_prefix(&format!("{watch}ed c1 done duration_ms=")).unwrap_or_default();
            let (duration_ms, detail) = ended.split_once(' ').unwrap_or_default();
            assert!(duration_ms.parse::<u64>().is_ok(), "{looks:?}");
            assert_eq!(detail, "quality=main");
            lines += 2;
        }
        // Cut off, and not closed.
        drop(hub.open(LIVE, &hub.cookie).await.unwrap());
        let looks = hub.looks_of(lines + 2).await;
        assert!(looks[lines..].iter().any(|line| line.starts_with("camera.watched c1 done duration_ms=")), "{looks:?}");

        assert!(hub.open(LIVE, "").await.is_err());
        assert_eq!(hub.looks().await.len(), lines + 2, "who was not let in saw nothing");
    })
    .await;
}

#[tokio::test]
async fn a_home_shuts_when_its_alarm_is_over_or_its_household_says_so() {
    each_store(async |store| {
        let hub = Hub::start(&store).await;
        hub.becomes_a_home().await;
        for (ends, again) in [
            ("update alarm set state = 'closed'", "update alarm set state = 'acknowledged'"),
            ("update camera set consent_ms = null", "update camera set consent_ms = 2"),
        ] {
            let mut sockets = hub.both(&hub.cookie).await;
            hub.execute(ends).await;
            assert_eq!(reasons(&mut sockets).await, ["not_allowed", "not_allowed"], "{ends}");
            assert_eq!(hub.open(LIVE, &hub.cookie).await.map(drop).unwrap_err().as_u16(), 403, "{ends}");
            hub.execute(again).await;
        }
        hub.until("nobody watches", || hub.relay.stats().viewers == 0).await;
        let looks = hub.looks_of(8).await;
        let ended = looks.iter().filter(|line| line.contains("ed c1 done duration_ms=")).count();
        assert_eq!((looks.len(), ended), (8, 4), "each look has its end: {looks:?}");
    })
    .await;
}

#[tokio::test]
async fn nobody_looks_on_when_their_session_has_ended() {
    each_store(async |store| {
        let hub = Hub::start(&store).await;
        let mut here = hub.both(&hub.cookie).await;
        let other = region(VILLAGE);
        let other = crate::identity::testing::begin_session(&store, Role::Operator, &other, clock::utc_ms()).await;
        let mut others = hub.both(&other).await;
        hub.log_out(&hub.cookie).await;
        assert_eq!(reasons(&mut here).await, ["session_ended", "session_ended"]);
        for socket in &mut others {
            assert!(is_open(socket).await, "nobody else's does");
        }
        // Ended by another hub, or by the clock: found at the next look.
        hub.execute("update session set expires_ms = 1").await;
        assert_eq!(reasons(&mut others).await, ["session_ended", "session_ended"]);
        assert_eq!(hub.looks_of(8).await.len(), 8);
    })
    .await;
}
