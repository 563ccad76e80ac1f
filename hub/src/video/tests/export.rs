//! Stretches taken out of recordings, with a gateway by hand: who may, what comes out, how it ends. (What FFmpeg thinks of it is
//! in `film.rs`.)

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tongluo_protocols::media::mp4::{Sample, Track, fragment, init_segment};
use tongluo_protocols::media::{Codec, GatewayMessage, HubMessage};
use tower::ServiceExt as _;

use super::*;
use crate::clock;

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The body of an `avcC` box: high profile, level 4.0, one parameter set of each kind.
const AVCC: [u8; 19] = [1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x28, 1, 0, 4, 0x68, 0xee, 0x3c, 0x80];

/// What most of these stories are about: H.264 without sound.
fn plain(width: u16) -> Track {
    Track { codec: Codec::H264, parameters: AVCC.to_vec(), width, height: 48, sound: None }
}

/// When the stretch of these stories begins.
pub(super) const FROM_MS: i64 = 1_700_000_000_000;

/// A gateway that is asked for a recording.
pub(super) struct Gateway {
    room: VideoRoom,
    site: SiteId,
    number: u64,
    inbox: mpsc::Receiver<Bytes>,
}

impl Gateway {
    pub(super) fn connect(village: &Village) -> Self {
        let (room, site) = (village.room.clone(), village.site.clone());
        let (number, inbox) = room.relay.connected(&site);
        Self { room, site, number, inbox }
    }

    /// Waits until it is asked for a recording and may send; gives the number under which it answers.
    pub(super) async fn asked(&mut self) -> u32 {
        let mut wanted = None;
        loop {
            let heard = tokio::time::timeout(PATIENCE, self.inbox.recv()).await.unwrap().unwrap();
            match HubMessage::parse(&heard).unwrap() {
                HubMessage::Fetch { request, .. } => wanted = Some(request),
                HubMessage::More { request, .. } if wanted == Some(request) => return request,
                _ => {}
            }
        }
    }

    pub(super) fn say(&self, message: GatewayMessage<'_>) {
        self.room.relay.heard(&self.site, self.number, message);
    }

    pub(super) fn init(&self, request: u32, track: &Track) {
        let data = init_segment(track).unwrap();
        self.say(GatewayMessage::Init { request, rfc6381: &track.rfc6381().unwrap(), data: &data });
    }

    /// One second of a recording: five pictures.
    fn second(&self, request: u32, wall_ms: i64) {
        let sample = |key| Sample { data: b"\0\0\0\x01\x65", duration_90k: 18_000, composition_90k: 0, key };
        let data =
            fragment(1, 77, &[sample(true), sample(false), sample(false), sample(false), sample(false)]).unwrap();
        self.say(GatewayMessage::Fragment { request, wall_ms, duration_ms: 1_000, data: &data });
    }

    fn end(&self, request: u32, reason: &str) {
        self.say(GatewayMessage::End { request, reason });
    }
}

impl Village {
    pub(super) async fn camera(&self) -> String {
        self.enter(json!({})).await["id"].as_str().unwrap().to_owned()
    }

    async fn export(&self, camera: &str, body: Value) -> Answer {
        self.ask("POST", &format!("/api/v1/cameras/{camera}/exports"), body).await
    }

    /// Asks for ten seconds; gives the export's path.
    pub(super) async fn export_ten_seconds(&self, camera: &str) -> String {
        let body = json!({"from_ms": FROM_MS, "to_ms": FROM_MS + 10_000, "reason": " 核对报警 "});
        let answer = self.export(camera, body).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        assert_eq!((&answer.body["reason"], &answer.body["requested_by"]), (&json!("核对报警"), &json!("A")));
        format!("/api/v1/exports/{}", answer.body["id"].as_str().unwrap())
    }

    /// Waits until an export is so.
    pub(super) async fn until(&self, path: &str, state: &str) -> Value {
        let waiting = async {
            loop {
                let answer = self.ask("GET", path, Value::Null).await;
                assert_eq!(answer.status, 200, "{answer:?}");
                if answer.body["state"] == state {
                    return answer.body;
                }
                clock::pause(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("it comes to that")
    }

    pub(super) async fn file(&self, path: &str) -> (u16, Vec<u8>) {
        let request = Request::builder().uri(format!("{path}/file")).header(header::RANGE, "bytes=0-");
        let answer = self.routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        (answer.status().as_u16(), answer.into_body().collect().await.unwrap().to_bytes().to_vec())
    }
}

#[tokio::test]
async fn a_stretch_comes_out_as_one_file_with_its_hash_and_its_gaps() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.camera().await;
        let mut gateway = Gateway::connect(&village);
        let path = village.export_ten_seconds(&camera).await;
        let request = gateway.asked().await;
        gateway.init(request, &plain(64));
        // From the keyframe before; four seconds are missing; the last one reaches beyond the end.
        for wall_ms in [-400, 600, 1_600, 6_600, 7_600, 8_600, 9_600] {
            gateway.second(request, FROM_MS + wall_ms);
        }
        let export = village.until(&path, "ready").await;
        assert_eq!(export["gaps"], json!([{"from_ms": FROM_MS + 2_600, "to_ms": FROM_MS + 6_600}]));
        assert_eq!((&export["progress_percent"], &export["shortened"]), (&json!(100), &Value::Null));
        let (status, file) = village.file(&path).await;
        assert_eq!(status, 206);
        assert_eq!(export["sha256"], json!(format!("{:x}", Sha256::digest(&file))));
        assert_eq!(export["bytes"], json!(file.len()));
        let at = |name: &[u8]| file.windows(name.len()).position(|window| window == name);
        assert!(at(b"moov").unwrap() < at(b"mdat").unwrap(), "its index is in front");
        for told in ["村口", "导出人：A", "原因：核对报警", "时间：2023-11-15 06:13:20+08:00", "缺失："]
        {
            assert!(at(told.as_bytes()).is_some(), "the file says {told}");
        }
        // 32 pictures of 5 bytes: those at or after the end are left out.
        assert_eq!(file.len() - at(b"mdat").unwrap() - 12, 32 * 5);
        let listed = village.ask("GET", "/api/v1/exports", Value::Null).await;
        assert_eq!(listed.body["exports"], json!([export]));
        let lines = village.texts("select action from audit where action <> 'camera.create' order by id").await;
        assert_eq!(lines[..3], ["recording.export", "export.ready", "export.open"], "{lines:?}");
        let told = village.texts("select kind from event where kind = 'export'").await;
        assert!((3..=30).contains(&told.len()), "{told:?}");

        assert_eq!(village.ask("DELETE", &path, Value::Null).await.status, 204);
        assert_eq!(village.until(&path, "expired").await["sha256"], export["sha256"]);
        assert_eq!(village.file(&path).await.0, 409);
        assert_eq!(village.ask("DELETE", &path, Value::Null).await.code(), "export.over");
        assert_eq!(village.number("select count(*) from content_link").await, 0, "its content goes");
    })
    .await;
}

#[tokio::test]
async fn what_ends_early_says_why() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.camera().await;
        let mut gateway = Gateway::connect(&village);

        let path = village.export_ten_seconds(&camera).await;
        let request = gateway.asked().await;
        gateway.init(request, &plain(64));
        gateway.second(request, FROM_MS);
        gateway.init(request, &plain(32));
        let export = village.until(&path, "ready").await;
        assert_eq!(export["shortened"], "other_form");
        assert_eq!(export["gaps"], json!([{"from_ms": FROM_MS + 1_000, "to_ms": FROM_MS + 10_000}]));

        for (say, failure) in [("", "not_recorded"), ("no_such_stream: gone", "no_such_stream: gone")] {
            let path = village.export_ten_seconds(&camera).await;
            let request = gateway.asked().await;
            gateway.end(request, say);
            assert_eq!(village.until(&path, "failed").await["failure"], failure);
        }

        let path = village.export_ten_seconds(&camera).await;
        let request = gateway.asked().await;
        gateway.say(GatewayMessage::Init { request, rfc6381: "avc1", data: b"no box" });
        assert_eq!(village.until(&path, "failed").await["failure"], "no_room", "what cannot be read or written");

        let path = village.export_ten_seconds(&camera).await;
        gateway.asked().await;
        let gateway = Gateway::connect(&village);
        assert_eq!(village.until(&path, "failed").await["failure"], "line_lost");
        drop(gateway);
    })
    .await;
}

#[tokio::test]
async fn one_at_a_time_cancelled_interrupted_and_expired() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.camera().await;
        let mut gateway = Gateway::connect(&village);
        let path = village.export_ten_seconds(&camera).await;
        let request = gateway.asked().await;
        let body = json!({"from_ms": FROM_MS, "to_ms": FROM_MS + 10_000, "reason": "x"});
        assert_eq!(village.export(&camera, body.clone()).await.code(), "export.too_many");
        assert_eq!(village.ask("DELETE", &path, Value::Null).await.status, 204);
        assert_eq!(village.until(&path, "cancelled").await["sha256"], Value::Null);
        gateway.init(request, &plain(64));
        gateway.second(request, FROM_MS);
        gateway.end(request, "");
        let again = async {
            while village.export(&camera, body.clone()).await.status != 201 {
                clock::pause(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, again).await.expect("the place is free again");
        assert_eq!(village.until(&path, "cancelled").await["state"], "cancelled", "and it stays so");

        village.room.interrupt_exports(clock::utc_ms()).await.unwrap();
        let failures = village.texts("select failure from export where state = 'failed'").await;
        assert_eq!(failures, ["interrupted"]);

        village.execute("update export set state = 'ready', sha256 = 'x', expires_ms = 5").await;
        assert_eq!(village.room.expire_exports(4).await.unwrap(), 0);
        assert_eq!(village.room.expire_exports(5).await.unwrap(), 2);
        assert_eq!(village.until(&path, "expired").await["sha256"], Value::Null, "a hash that is none is not shown");
        village.room.expire_exports(5 + 366 * 24 * 3_600_000).await.unwrap();
        assert_eq!(village.number("select count(*) from export").await, 0);
    })
    .await;
}

#[tokio::test]
async fn bad_forms_and_people_without_the_right_change_nothing() {
    each_store(async |store| {
        let village = Village::new(&store).await;
        let camera = village.camera().await;
        let good = json!({"from_ms": FROM_MS, "to_ms": FROM_MS + 10_000, "reason": "看看"});
        let long = "长".repeat(501);
        for (name, value) in [
            ("from_ms", json!(-1)),
            ("from_ms", json!("1")),
            ("from_ms", Value::Null),
            ("from_ms", json!(i64::MIN)),
            ("from_ms", json!(1e300)),
            ("to_ms", json!(FROM_MS)),
            ("to_ms", json!(FROM_MS + 999)),
            ("to_ms", json!(FROM_MS + 30 * 60_000 + 1)),
            ("to_ms", json!(i64::MAX)),
            ("reason", json!("")),
            ("reason", json!(" \n ")),
            ("reason", json!("a\u{0}b")),
            ("reason", json!(long)),
            ("reason", json!(["x"])),
            ("quality", json!("main")),
        ] {
            let mut body = good.clone();
            body[name] = value.clone();
            let answer = village.export(&camera, body).await;
            assert!(answer.status == 422 || answer.status == 400, "{name} = {value}: {answer:?}");
        }
        let now_ms = clock::utc_ms();
        let future = json!({"from_ms": now_ms, "to_ms": now_ms + 60_000, "reason": "x"});
        assert_eq!(village.export(&camera, future).await.status, 422);
        assert_eq!(village.export("none", good.clone()).await.status, 404);
        for path in ["/api/v1/exports/none", "/api/v1/exports/none/file"] {
            assert_eq!(village.ask("GET", path, Value::Null).await.status, 404);
        }
        assert_eq!(village.ask("DELETE", "/api/v1/exports/none", Value::Null).await.status, 404);
        for role in [Role::VillageHead, Role::Technician] {
            let other = Village::with(&store, village.site.clone(), viewer(role, VILLAGE)).await;
            assert_eq!(other.export(&camera, good.clone()).await.status, 403, "{role:?}");
            assert_eq!(other.ask("GET", "/api/v1/exports", Value::Null).await.status, 403, "{role:?}");
        }
        let elsewhere = Village::with(&store, village.site.clone(), viewer(Role::Operator, "411728101")).await;
        assert_eq!(elsewhere.export(&camera, good).await.status, 404);
        assert_eq!(village.number("select count(*) from export").await, 0);
    })
    .await;
}
