//! What gateways tell, as the ledger hands it over.

use tongluo_protocols::event::{PlayReport, PlayState, SpeakerReport, SpeakerState, Verdict};
use tongluo_protocols::order::Broadcast;

use super::*;

impl Township {
    async fn play(&self, site: &str, id: &Value, speaker: &str, state: &str, at_ms: i64) {
        let report = PlayReport {
            broadcast: id.as_str().unwrap(),
            speaker,
            state: PlayState::from_name(state),
            times: 1,
            played_ms: 4_000,
            detail: "",
            at_ms,
        };
        let site_id = SiteId::from_known(site);
        self.take(&[HeardPlay { site_id: &site_id, report }], &[]).await;
    }

    async fn take(&self, plays: &[HeardPlay<'_>], verdicts: &[HeardVerdict<'_>]) {
        let mut transaction = self.store.begin().await.unwrap();
        let drafts = take_plays(&mut transaction, plays, verdicts).await.unwrap();
        crate::live::append(&mut transaction, 0, &drafts).await.unwrap();
        transaction.commit().await.unwrap();
    }

    async fn report(&self, site: &str, speaker: &str, state: &str, now_ms: i64) -> Vec<Draft> {
        let state = SpeakerState::from_name(state);
        let report = SpeakerReport {
            speaker,
            state,
            since_ms: 7,
            heard_ms: Some(9),
            detail: "",
            volume_percent: 80,
            playing: None,
        };
        let site_id = SiteId::from_known(site);
        let mut transaction = self.store.begin().await.unwrap();
        let drafts =
            take_reports(&mut transaction, now_ms, &[HeardSpeaker { site_id: &site_id, report }]).await.unwrap();
        transaction.commit().await.unwrap();
        drafts
    }

    async fn shown(&self, speaker: &str) -> Value {
        let listed = self.ask(operator(), "GET", "/api/v1/speakers", Value::Null).await.body;
        let speakers = listed["speakers"].as_array().unwrap();
        speakers.iter().find(|shown| shown["id"] == speaker).unwrap().clone()
    }
}

use crate::live::Draft;

#[tokio::test]
async fn what_became_of_a_notice_is_shown_speaker_by_speaker() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let (one, two) = (township.enter("site1", "TL-1").await, township.enter("site1", "TL-2").await);
        let sent = township.notify(head(), VILLAGE, json!({})).await.body;
        let id = &sent["id"];
        township.play("site1", id, &one, "playing", 10).await;
        assert_eq!(township.detail(id).await["state"], "playing");
        township.play("site1", id, &one, "played", 20).await;
        township.play("site1", id, &one, "fetching", 15).await;
        let detail = township.detail(id).await;
        assert_eq!((&detail["state"], &detail["played"]["played"]), (&json!("playing"), &json!(1)), "{detail}");
        assert_eq!(detail["speakers"][1]["played_ms"], 4_000, "those that need somebody come first");
        // Another village's gateway has nothing to say of it.
        township.play("site2", id, &two, "played", 30).await;
        assert_eq!(township.detail(id).await["played"]["waiting"], 1);
        township.play("site1", id, &two, "failed", 30).await;
        let detail = township.detail(id).await;
        assert_eq!(detail["state"], "done", "{detail}");
        // It came back within its time after all.
        township.play("site1", id, &two, "playing", 40).await;
        assert_eq!(township.detail(id).await["state"], "playing");
        township.play("site1", id, &two, "played", 50).await;
        let detail = township.detail(id).await;
        assert_eq!((&detail["state"], &detail["played"]["played"]), (&json!("done"), &json!(2)));
        let told = township.texts("select body from event where kind = 'notice' order by sequence desc limit 1").await;
        let told: Value = serde_json::from_str(&told[0]).unwrap();
        assert_eq!((&told["state"], &told["revision"]), (&detail["state"], &detail["revision"]));
    })
    .await;
}

#[tokio::test]
async fn it_has_stopped_when_the_last_loudspeaker_has_said_so_or_can_play_no_more() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let (one, two) = (township.enter("site1", "TL-1").await, township.enter("site1", "TL-2").await);
        let stop = async |id: &Value| {
            let path = format!("/api/v1/notices/{}/stop", id.as_str().unwrap());
            township.ask(head(), "POST", &path, Value::Null).await.body
        };
        let sent = township.notify(head(), VILLAGE, json!({})).await.body;
        let id = &sent["id"];
        township.play("site1", id, &one, "playing", 10).await;
        assert_eq!(stop(id).await["state"], "stopping");
        township.play("site1", id, &one, "stopped", 20).await;
        let detail = township.detail(id).await;
        assert_eq!((&detail["state"], &detail["played"]["waiting"]), (&json!("stopping"), &json!(1)), "{detail}");
        township.play("site1", id, &two, "stopped", 21).await;
        assert_eq!(township.detail(id).await["state"], "stopped");

        // The gateway is off line and plays on: nobody says "stopped" before it can play no more.
        let sent = township.notify(head(), VILLAGE, json!({})).await.body;
        let id = &sent["id"];
        township.play("site1", id, &one, "playing", 30).await;
        assert_eq!(stop(id).await["state"], "stopping");
        let over_ms = sent["valid_until_ms"].as_i64().unwrap() + 4_000 + 300_000;
        notice::settle(&township.store, over_ms).await.unwrap();
        assert_eq!(township.detail(id).await["state"], "stopping");
        notice::settle(&township.store, over_ms + 1).await.unwrap();
        assert_eq!(township.detail(id).await["state"], "stopped");

        // What waits for a second person was never heard.
        township.enter("site2", "TL-3").await;
        let waiting = township.notify(operator(), TOWNSHIP, json!({})).await.body;
        let path = format!("/api/v1/notices/{}/stop", waiting["id"].as_str().unwrap());
        assert_eq!(township.ask(operator(), "POST", &path, Value::Null).await.body["state"], "stopped");
    })
    .await;
}

#[tokio::test]
async fn a_refused_order_is_said_of_each_loudspeaker_that_has_not_begun() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let (one, two) = (township.enter("site1", "TL-1").await, township.enter("site1", "TL-2").await);
        let sent = township.notify(head(), VILLAGE, json!({})).await.body;
        let id = sent["id"].as_str().unwrap();
        township.play("site1", &sent["id"], &one, "playing", 10).await;
        let site_id = SiteId::from_known("site1");
        let verdict = |verdict: &'static str, kind| Verdict {
            broadcast: Some(id),
            issuer: "root",
            counter: 1,
            verdict,
            detail: "",
            at_ms: 12,
            kind,
        };
        for (word, kind) in [("obeyed", Broadcast::KIND), ("repeated", Broadcast::KIND), ("stale", 3)] {
            township.take(&[], &[HeardVerdict { site_id: &site_id, verdict: verdict(word, kind) }]).await;
            assert_eq!(township.detail(&sent["id"]).await["played"]["refused"], 0, "{word}");
        }
        let other = SiteId::from_known("site2");
        let refused = verdict("Clock Unconfirmed", Broadcast::KIND);
        township.take(&[], &[HeardVerdict { site_id: &other, verdict: refused }]).await;
        assert_eq!(township.detail(&sent["id"]).await["played"]["refused"], 0, "another's word");
        township.take(&[], &[HeardVerdict { site_id: &site_id, verdict: refused }]).await;
        let detail = township.detail(&sent["id"]).await;
        assert_eq!((&detail["played"]["refused"], &detail["played"]["playing"]), (&json!(1), &json!(1)));
        let refused = detail["speakers"].as_array().unwrap().iter().find(|s| s["speaker_id"] == two).unwrap();
        assert_eq!((&refused["state"], &refused["reason"]), (&json!("refused"), &json!("clock_unconfirmed")));
    })
    .await;
}

#[tokio::test]
async fn what_nobody_reported_is_said_when_its_time_is_over_and_a_late_report_still_counts() {
    each_store(async |store| {
        let township = Township::new(&store).await;
        let (one, two) = (township.enter("site1", "TL-1").await, township.enter("site1", "TL-2").await);
        let sent = township.notify(head(), VILLAGE, json!({})).await.body;
        township.play("site1", &sent["id"], &one, "playing", 10).await;
        let over_ms = sent["valid_until_ms"].as_i64().unwrap() + 4_000 + 300_000;
        assert_eq!(notice::settle(&township.store, over_ms).await.unwrap(), 0);
        assert_eq!(notice::settle(&township.store, over_ms + 1).await.unwrap(), 1);
        let detail = township.detail(&sent["id"]).await;
        assert_eq!(detail["state"], "done");
        let states: Vec<(&str, &str)> = detail["speakers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|speaker| (speaker["state"].as_str().unwrap(), speaker["reason"].as_str().unwrap()))
            .collect();
        assert_eq!(states, [("failed", "unreported"), ("expired", "unreported")]);
        assert_eq!(notice::settle(&township.store, over_ms + 1).await.unwrap(), 0, "once is enough");
        township.play("site1", &sent["id"], &two, "played", 20).await;
        assert_eq!(township.detail(&sent["id"]).await["played"]["played"], 1);
    })
    .await;
}

#[tokio::test]
async fn silent_and_refusing_loudspeakers_are_faults_until_they_are_well() {
    each_store(async |store| {
        crate::clock::testing::stop();
        let township = Township::new(&store).await;
        let now_ms = crate::clock::utc_ms();
        let speaker = township.enter("site1", "TL-1").await;
        assert!(township.report("site2", &speaker, "ok", now_ms).await.is_empty(), "another village's word");
        assert_eq!(township.report("site1", &speaker, "ok", now_ms).await.len(), 1);
        assert_eq!(township.report("site1", &speaker, "ok", now_ms).await.len(), 0, "no news");
        assert_eq!(township.shown(&speaker).await["online"], true);
        let open = "select count(*) from fault where state = 'open'";
        for state in ["silent", "refused"] {
            assert_eq!(
                township.report("site1", &speaker, state, now_ms).await.len(),
                if state == "silent" { 2 } else { 3 }
            );
            assert_eq!(township.number(open).await, 1, "{state}");
            assert_eq!(township.shown(&speaker).await["online"], false);
        }
        let codes = township.texts("select code from fault order by code").await;
        assert_eq!(codes, ["speaker.refused", "speaker.silent"]);
        township.report("site1", &speaker, "ok", now_ms).await;
        assert_eq!(township.number(open).await, 0);

        let believed_ms = 25 * 60 * 1000;
        assert_eq!(speaker::notice_silence(&township.store, now_ms + believed_ms).await.unwrap(), 0);
        assert_eq!(speaker::notice_silence(&township.store, now_ms + believed_ms + 1).await.unwrap(), 1);
        assert_eq!(township.texts("select code from fault where state = 'open'").await, ["speaker.unheard"]);
        township.report("site1", &speaker, "ok", now_ms).await;
        assert_eq!(township.number(open).await, 0);

        township.execute("update presence set online = 0, online_changed_ms = 77 where site_id = 'site1'").await;
        let cut = township.shown(&speaker).await;
        assert_eq!((&cut["state"], &cut["online"], &cut["detail"]), (&json!("stale"), &json!(false), &json!("ok")));
    })
    .await;
}
