//! What gateways tell of cameras.

use tongluo_protocols::event::{CameraReport, CameraState, StreamFacts};

use super::*;
use crate::video::{HeardCamera, take_reports};

fn report<'a>(camera: &'a str, state: CameraState<'a>, heard_ms: i64) -> CameraReport<'a> {
    CameraReport {
        camera,
        state,
        since_ms: heard_ms,
        detail: "as seen",
        main: Some(StreamFacts { codec: "h264", width: 1280, height: 720 }),
        sub: None,
        recorded_from_ms: Some(heard_ms - 100),
        recorded_bytes: Some(5),
        last_frame_ms: Some(heard_ms),
        heard_ms,
    }
}

impl Village {
    pub(super) async fn hear(&self, now_ms: i64, site: &SiteId, reports: &[CameraReport<'_>]) -> Vec<live::Draft> {
        let heard: Vec<_> = reports.iter().map(|report| HeardCamera { site_id: site, report: *report }).collect();
        let mut transaction = self.store.begin().await.unwrap();
        let drafts = take_reports(&mut transaction, now_ms, &heard).await.unwrap();
        live::append(&mut transaction, now_ms, &drafts).await.unwrap();
        transaction.commit().await.unwrap();
        drafts
    }

    async fn open_faults(&self) -> Vec<String> {
        self.texts("select code || ' ' || detail from fault where state = 'open' order by code").await
    }
}

#[tokio::test]
async fn a_report_becomes_the_state_and_trouble_a_fault_until_it_is_over() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.enter(json!({})).await;
        let id = camera["id"].as_str().unwrap();
        let now_ms = crate::clock::utc_ms();
        let drafts = village.hear(now_ms, &village.site, &[report(id, CameraState::Ok, now_ms)]).await;
        assert_eq!(drafts.len(), 1);
        assert_eq!(drafts[0].body["state"], json!({"name": "ok", "since_ms": now_ms, "detail": "as seen"}));
        assert_eq!(drafts[0].body["main"], json!({"codec": "h264", "width": 1280, "height": 720}));
        assert!(village.open_faults().await.is_empty());

        let same = CameraReport { since_ms: now_ms, ..report(id, CameraState::Ok, now_ms + 600_000) };
        assert!(village.hear(now_ms, &village.site, &[same]).await.is_empty(), "proof of life is no news");

        let later = now_ms + 700_000;
        let drafts = village.hear(now_ms, &village.site, &[report(id, CameraState::Frozen, later)]).await;
        assert_eq!(drafts.iter().map(|draft| draft.kind).collect::<Vec<_>>(), ["fault", "camera"]);
        assert_eq!(village.open_faults().await, ["camera.frozen 村口: as seen"]);
        assert_eq!(village.texts("select source from fault").await, [format!("camera:{id}")]);

        let table = [
            (CameraState::Unreachable, "camera.unreachable 村口: as seen"),
            (CameraState::Other("Stolen!"), "camera.stolen_ 村口: as seen"),
        ];
        for (number, (state, expected)) in table.into_iter().enumerate() {
            let at_ms = later + 1 + number as i64;
            village.hear(now_ms, &village.site, &[report(id, state, at_ms)]).await;
            assert_eq!(village.open_faults().await, [expected]);
        }
        village.hear(now_ms, &village.site, &[report(id, CameraState::Ok, later + 9)]).await;
        assert!(village.open_faults().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn only_the_newest_word_of_the_own_gateway_counts() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let other = add_site(&store, "site2").await;
        let camera = village.enter(json!({})).await;
        let id = camera["id"].as_str().unwrap();
        let now_ms = crate::clock::utc_ms();
        let states = [
            report(id, CameraState::Ok, now_ms),
            report(id, CameraState::Black, now_ms + 2),
            report(id, CameraState::Frozen, now_ms + 1),
            report("nobody's", CameraState::Black, now_ms),
        ];
        village.hear(now_ms, &village.site, &states).await;
        assert_eq!(village.texts("select state from camera").await, ["black"]);
        assert!(village.hear(now_ms, &village.site, &[report(id, CameraState::Ok, now_ms + 1)]).await.is_empty());
        assert!(village.hear(now_ms, &other, &[report(id, CameraState::Ok, now_ms + 9)]).await.is_empty());
        assert_eq!(village.texts("select state from camera").await, ["black"]);
        assert_eq!(village.open_faults().await, ["camera.black 村口: as seen"]);

        let path = format!("/api/v1/cameras/{id}");
        assert_eq!(village.ask("DELETE", &path, Value::Null).await.status, 204);
        assert!(village.open_faults().await.is_empty(), "what is no more is not broken");
        assert!(village.hear(now_ms, &village.site, &[report(id, CameraState::Ok, now_ms + 9)]).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn many_reports_at_once_reach_their_cameras() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let mut ids = Vec::new();
        for number in 0..20 {
            let camera = village.enter(json!({"url": format!("rtsp://10.0.0.9/{number}")})).await;
            ids.push(camera["id"].as_str().unwrap().to_owned());
        }
        let now_ms = crate::clock::utc_ms();
        let plain = CameraReport {
            main: None,
            recorded_from_ms: None,
            recorded_bytes: None,
            last_frame_ms: None,
            ..report("", CameraState::Starting, now_ms)
        };
        let reports: Vec<_> = ids
            .iter()
            .enumerate()
            .map(|(number, id)| match number % 2 {
                0 => report(id, CameraState::Ok, now_ms),
                _ => CameraReport { camera: id, ..plain },
            })
            .collect();
        assert_eq!(village.hear(now_ms, &village.site, &reports).await.len(), 20);
        assert_eq!(village.number("select count(*) from camera where state = 'ok' and main_width = 1280").await, 10);
        assert_eq!(
            village.number("select count(*) from camera where state = 'starting' and main_width is null").await,
            10
        );
    })
    .await;
}

#[tokio::test]
async fn silence_is_told_once_and_is_a_fault_while_the_gateway_is_on_line() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.enter(json!({})).await;
        let id = camera["id"].as_str().unwrap();
        let now_ms = crate::clock::utc_ms();
        village.hear(now_ms, &village.site, &[report(id, CameraState::Ok, now_ms)]).await;
        let silence = async |at_ms: i64| village.room.notice_silence(at_ms).await.unwrap();
        let told = async || village.texts("select body from event where kind = 'camera' order by sequence").await;
        assert_eq!(silence(now_ms + 25 * 60_000).await, 0);
        let late_ms = now_ms + 26 * 60_000;
        assert_eq!(silence(late_ms).await, 1);
        assert_eq!(silence(late_ms).await, 0, "once is enough");
        assert!(told().await.last().unwrap().contains("\"name\":\"stale\""));
        assert_eq!(village.open_faults().await, ["camera.unheard 村口"]);
        village.hear(late_ms, &village.site, &[report(id, CameraState::Ok, late_ms)]).await;
        assert!(village.open_faults().await.is_empty());
        assert!(told().await.last().unwrap().contains("\"name\":\"ok\""));

        village.execute("update presence set online = 0").await;
        assert_eq!(silence(late_ms).await, 1);
        assert!(told().await.last().unwrap().contains("\"name\":\"stale\""));
        assert!(village.open_faults().await.is_empty(), "that the gateway is off line is another matter");
        village.execute("update presence set online = 1").await;
        assert_eq!(silence(late_ms).await, 1);
        assert!(told().await.last().unwrap().contains("\"name\":\"ok\""));
    })
    .await;
}
