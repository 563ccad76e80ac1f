//! What cameras saw of presses.

use axum::body::Body;
use axum::http::{Request, header};
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tongluo_protocols::content::{ContentHash, MediaType};
use tongluo_protocols::event::{Evidence, EvidenceKind, EvidenceState};
use tongluo_protocols::id::{Epoch, PressId};
use tower::ServiceExt as _;

use super::*;
use crate::clock;
use crate::content::Audience;
use crate::store::testing::region;
use crate::video::{HeardEvidence, file_look, take_evidence};

fn press(sequence: u64) -> PressId {
    PressId { epoch: Epoch::from_random(1), sequence }
}

fn saved(camera: &str) -> Evidence<'_> {
    Evidence {
        press: press(1),
        camera,
        kind: EvidenceKind::Snapshot,
        state: EvidenceState::Saved,
        reason: None,
        sha256: Some([0xab; 32]),
        bytes: Some(900),
        media_type: Some("image/jpeg"),
        from_ms: 1_000,
        to_ms: 1_000,
    }
}

impl Village {
    async fn tell(&self, evidence: Evidence<'_>) -> Vec<live::Draft> {
        let mut transaction = self.store.begin().await.unwrap();
        let heard = [HeardEvidence { site_id: &self.site, region: &region(VILLAGE), evidence }];
        let drafts = take_evidence(&mut transaction, 5_000, &heard).await.unwrap();
        live::append(&mut transaction, 5_000, &drafts).await.unwrap();
        transaction.commit().await.unwrap();
        drafts
    }

    /// An alarm of one press, which came at `received_ms`.
    async fn alarm(&self, received_ms: i64) {
        self.execute(
            "insert into alarm (id, site_id, region_code, source, kind, state, sounding, late, presses, occurred_ms, \
             raised_ms, last_press_ms, revision) \
             values ('a1', 'site1', '411728102201', 'zigbee:1', 'sos', 'unacknowledged', 1, 0, 1, 0, 0, 0, 1)",
        )
        .await;
        let mut transaction = self.store.begin().await.unwrap();
        sqlx::query(
            "insert into press (site_id, press_id, alarm_id, trigger, occurred_ms, received_ms, late) \
             values ('site1', $1, 'a1', 'sos', 1000, $2, 0)",
        )
        .bind(press(1).to_string())
        .bind(received_ms)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();
    }
}

#[tokio::test]
async fn evidence_belongs_to_its_alarm_and_is_never_taken_back() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.enter(json!({})).await;
        let id = camera["id"].as_str().unwrap();
        let missing = Evidence { state: EvidenceState::Missing, sha256: None, reason: Some("no_frames"), ..saved(id) };
        let drafts = village.tell(missing).await;
        assert_eq!(
            (drafts[0].body["state"].as_str(), drafts[0].body["reason"].as_str()),
            (Some("missing"), Some("no_frames"))
        );
        assert!(drafts[0].body["alarm_id"].is_null(), "the press is still on its way");
        village.alarm(2_000).await;
        let drafts = village.tell(saved(id)).await;
        let shown = &drafts[0].body;
        assert_eq!(
            (&shown["state"], &shown["alarm_id"], &shown["camera_name"]),
            (&json!("saved"), &json!("a1"), &json!("村口"))
        );
        assert_eq!(shown["sha256"], json!("ab".repeat(32)));
        assert!(village.tell(missing).await.is_empty(), "what is saved stays saved");
        assert!(village.tell(saved(id)).await.is_empty(), "twice is once");
        let no_hash = Evidence { kind: EvidenceKind::Clip, sha256: None, ..saved(id) };
        assert_eq!(village.tell(no_hash).await[0].body["state"], "missing", "without a hash nothing can arrive");
        let answer = village.ask("GET", "/api/v1/alarms/a1/video", Value::Null).await;
        let states: Vec<_> =
            answer.body["evidence"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
        assert_eq!(states, ["saved", "missing"]);
        assert_eq!(answer.body["cameras"][0]["id"], camera["id"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_told_yet_is_awaited_for_a_while() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.enter(json!({})).await;
        let now_ms = crate::clock::utc_ms();
        village.alarm(now_ms - 10_000).await;
        let video = async || village.ask("GET", "/api/v1/alarms/a1/video", Value::Null).await.body["evidence"].clone();
        let awaited = video().await;
        assert_eq!(awaited.as_array().unwrap().len(), 2);
        assert_eq!(
            (&awaited[1]["kind"], &awaited[1]["from_ms"], &awaited[1]["to_ms"]),
            (&json!("clip"), &json!(-29_000), &json!(61_000))
        );
        village.tell(saved(camera["id"].as_str().unwrap())).await;
        let states: Vec<_> = video().await.as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
        assert_eq!(states, ["awaited", "saved"]);
        village.execute("update press set received_ms = received_ms - 900000").await;
        assert_eq!(video().await.as_array().unwrap().len(), 1, "nobody waits for ever");
        assert_eq!(village.ask("GET", "/api/v1/alarms/a2/video", Value::Null).await.status, 404);
    })
    .await;
}

#[tokio::test]
async fn a_picture_that_has_arrived_is_shown_to_those_who_may_and_goes_in_time() {
    const DAY_MS: i64 = 24 * 3600 * 1000;
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.enter(json!({})).await;
        let id = camera["id"].as_str().unwrap();
        let bytes = b"not really a picture";
        let jpeg = MediaType::Jpeg;
        let early = village.room.content.put(1, b"before its row", jpeg, Audience::Hub).await.unwrap();
        let told = village.tell(Evidence { sha256: Some(*early.as_bytes()), ..saved(id) }).await;
        assert_eq!(told[0].body["state"], "ready", "it was here before");

        let hash = ContentHash::new(Sha256::digest(bytes).into());
        let clip = Evidence { kind: EvidenceKind::Clip, sha256: Some(*hash.as_bytes()), ..saved(id) };
        let told = village.tell(clip).await;
        assert_eq!(told[0].body["state"], "saved");
        let path = format!("/api/v1/evidence/{}/file", told[0].body["id"].as_str().unwrap());
        assert_eq!(village.ask("GET", &path, Value::Null).await.code(), "evidence.not_here");
        village.room.content.put(2, bytes, jpeg, Audience::Hub).await.unwrap();
        village.room.arrived(6_000, Some(&hash.to_string())).await.unwrap();
        assert_eq!(village.texts("select state from evidence where kind = 'clip'").await, ["ready"]);

        let request = Request::get(&path).header(header::RANGE, "bytes=4-9").body(Body::empty()).unwrap();
        let answer = village.routes.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 206);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().as_ref(), &bytes[4..10]);
        let looks = village.texts("select action from audit where action like 'evidence%' order by id").await;
        assert!(looks.contains(&"evidence.open".to_owned()), "{looks:?}");

        let stranger = Village::with(&store, village.site.clone(), viewer(Role::VillageHead, "411728102202")).await;
        assert_eq!(stranger.ask("GET", &path, Value::Null).await.status, 404);
        village.execute("update evidence set home = 1").await;
        assert_eq!(village.ask("GET", &path, Value::Null).await.code(), "camera.no_consent");

        assert_eq!(village.room.expire(5_000 + 90 * DAY_MS).await.unwrap(), 0);
        assert_eq!(village.room.expire(5_001 + 90 * DAY_MS).await.unwrap(), 2);
        assert_eq!(village.number("select count(*) from content_link").await, 0, "the content may go");
        assert_eq!(village.texts("select distinct state from evidence").await, ["expired"]);
        village.room.expire(6_000 + 366 * DAY_MS).await.unwrap();
        assert_eq!(village.number("select count(*) from evidence").await, 0);
    })
    .await;
}

#[tokio::test]
async fn many_ranges_of_one_clip_are_one_look() {
    clock::testing::stop();
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.enter(json!({})).await;
        let bytes = b"a clip in five ranges, more or less";
        let hash = village.room.content.put(1, bytes, MediaType::Mp4, Audience::Hub).await.unwrap();
        let clip = Evidence {
            kind: EvidenceKind::Clip,
            sha256: Some(*hash.as_bytes()),
            ..saved(camera["id"].as_str().unwrap())
        };
        let told = village.tell(clip).await;
        let path = format!("/api/v1/evidence/{}/file", told[0].body["id"].as_str().unwrap());
        let read = async |routes: &Router, first: usize| {
            let range = format!("bytes={first}-{}", first + 4);
            let request = Request::get(&path).header(header::RANGE, range).body(Body::empty()).unwrap();
            let answer = routes.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 206);
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().as_ref(), &bytes[first..first + 5]);
        };
        const LOOKS: &str =
            "select action || ' ' || actor || ' ' || detail from audit where action like 'evidence.open%' order by id";
        let opened = format!("evidence.open a kind=clip camera={}", camera["id"].as_str().unwrap());
        for first in 0..5 {
            read(&village.routes, first * 5).await;
        }
        assert_eq!(village.texts(LOOKS).await, [opened.as_str()], "five ranges, one look");

        let now_ms = clock::utc_ms();
        village.execute("update file_look set began_ms = began_ms - 90000").await;
        assert_eq!(file_look::end_quiet(&store, now_ms + 59_999, 9).await.unwrap(), 0, "somebody may go on reading");
        let somebody = Viewer { username: "b".to_owned(), ..viewer(Role::Operator, "411728") };
        let other = as_somebody(crate::video::routes().with_state(village.room.clone()), Some(somebody));
        read(&other, 3).await;
        assert_eq!(village.number("select count(*) from file_look").await, 2, "another viewer looks for himself");
        assert_eq!(file_look::end_quiet(&store, now_ms + 60_000, 9).await.unwrap(), 2);
        let lines = village.texts(LOOKS).await;
        let ended = format!("evidence.opened a duration_ms=90000 kind=clip camera={}", camera["id"].as_str().unwrap());
        assert!(lines.contains(&ended) && lines.len() == 4, "{lines:?}");
        assert_eq!(file_look::end_quiet(&store, now_ms + 120_000, 9).await.unwrap(), 0, "once");

        read(&village.routes, 0).await;
        village.execute("update file_look set seen_ms = seen_ms - 60000, began_ms = began_ms - 60500").await;
        read(&village.routes, 5).await;
        let lines = village.texts(LOOKS).await;
        assert_eq!(
            lines.iter().filter(|line| **line == opened).count(),
            3,
            "after a minute it is another look: {lines:?}"
        );
        assert!(lines.iter().any(|line| line.starts_with("evidence.opened a duration_ms=500 ")), "{lines:?}");
        village.execute("drop table audit").await;
        let request = Request::get(&path).body(Body::empty()).unwrap();
        village.execute("delete from file_look").await;
        assert_eq!(village.routes.clone().oneshot(request).await.unwrap().status(), 500, "no look without its line");
    })
    .await;
}
