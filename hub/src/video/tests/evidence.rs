//! What cameras saw of presses.

use tongluo_protocols::event::{Evidence, EvidenceKind, EvidenceState};
use tongluo_protocols::id::{Epoch, PressId};

use super::*;
use crate::store::testing::region;
use crate::video::{HeardEvidence, take_evidence};

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
