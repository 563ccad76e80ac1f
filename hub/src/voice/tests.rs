//! Speech by the real engine, and sounds as people bring them, on both databases.

use std::path::PathBuf;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tongluo_protocols::content::ContentHash;

use super::*;
use crate::config::ContentConfig;
use crate::content::{Audience, Stat};
use crate::store::testing::{TOWNSHIP, VILLAGE, add_site, each_store};
use crate::viewer::testing::{Answer, as_somebody, ask, send, viewer};
use crate::viewer::{Role, Viewer};

fn espeak() -> Espeak {
    Espeak::new(PathBuf::from("espeak-ng"))
}

#[tokio::test]
async fn a_notice_is_spoken_at_the_loudness_of_everything() {
    let sound = speak(&espeak(), "各位村民请注意，明天8:30停电，电话13800138000。").await.unwrap();
    assert!((4_000..20_000).contains(&sound.duration_ms()), "{} ms", sound.duration_ms());
    assert!((sound.loudness_lufs() - sound::LOUDNESS_LUFS).abs() < 1.5, "{} LUFS", sound.loudness_lufs());
}

#[tokio::test]
async fn what_cannot_be_spoken_is_refused_with_its_reason() {
    assert!(matches!(speak(&espeak(), "  ").await, Err(VoiceError::Length(0))));
    let long = "村".repeat(TEXT_CHARS_MAX + 1);
    assert!(matches!(speak(&espeak(), &long).await, Err(VoiceError::Length(1_001))));
    assert!(matches!(speak(&espeak(), "。").await, Err(VoiceError::Sound(SoundError::Silent))));
    let missing = Espeak::new(PathBuf::from("/nonexistent/espeak-ng"));
    let error = speak(&missing, "停电").await.unwrap_err().to_string();
    assert!(error.contains("/nonexistent/espeak-ng"), "{error}");
    let failing = Espeak::new(PathBuf::from("false"));
    assert!(matches!(speak(&failing, "停电").await, Err(VoiceError::Engine(said)) if said.contains("ended with")));
}

#[tokio::test]
async fn a_text_that_looks_like_an_option_is_spoken() {
    assert!(speak(&espeak(), "--version 停电通知").await.is_ok());
}

/// A hub's sounds, and people who bring them.
struct Studio {
    room: VoiceRoom,
    folder: PathBuf,
}

impl Studio {
    async fn new(store: &Store) -> Self {
        add_site(store, "site1").await;
        let folder = std::env::temp_dir().join(format!("tongluo-voice-{}", crate::ids::opaque()));
        let config = ContentConfig { keep_free_mib: 0, ..ContentConfig::default() };
        let content = Content::open(store.clone(), &folder, &config).unwrap();
        Self { room: VoiceRoom::new(store.clone(), content, Arc::new(espeak())), folder }
    }

    fn routes(&self, somebody: Viewer) -> Router {
        as_somebody(routes().with_state(self.room.clone()), Some(somebody))
    }

    async fn bring(&self, somebody: Viewer, media_type: &str, wav: Vec<u8>) -> Answer {
        let request = Request::post("/api/v1/sounds").header(header::CONTENT_TYPE, media_type);
        send(&self.routes(somebody), request.body(Body::from(wav)).unwrap()).await
    }

    async fn stat(&self, sha256: &Value) -> Stat {
        let hash = ContentHash::parse(sha256.as_str().unwrap()).unwrap();
        self.room.content.stat(&hash).await.unwrap().unwrap()
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn head() -> Viewer {
    viewer(Role::VillageHead, VILLAGE)
}

/// A second of a quiet tone.
fn recording() -> Sound {
    let tone = |at: i32| ((at as f32 * 440.0 * std::f32::consts::TAU / 16_000.0).sin() * 900.0) as i16;
    Sound { rate_hz: 16_000, samples: (0..16_000).map(tone).collect() }
}

#[tokio::test]
async fn a_recording_is_levelled_and_kept_for_gateways() {
    each_store(async |store| {
        let studio = Studio::new(&store).await;
        let made = studio.bring(head(), "audio/wav; codecs=1", recording().to_wav()).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!((&made.body["duration_ms"], &made.body["bytes"]), (&json!(1_000), &json!(32_044)));
        assert!((made.body["loudness_lufs"].as_f64().unwrap() - sound::LOUDNESS_LUFS).abs() < 1.0, "{made:?}");
        let stat = studio.stat(&made.body["sha256"]).await;
        assert_eq!((stat.audience, stat.bytes), (Audience::Gateways, 32_044));

        let path = format!("/api/v1/sounds/{}", made.body["sha256"].as_str().unwrap());
        let listen = async |somebody| {
            let request = Request::get(&path).header(header::RANGE, "bytes=0-3").body(Body::empty()).unwrap();
            tower::ServiceExt::oneshot(studio.routes(somebody), request).await.unwrap().status().as_u16()
        };
        assert_eq!(listen(head()).await, 206);
        assert_eq!(listen(viewer(Role::Operator, TOWNSHIP)).await, 206, "whoever is above hears it, too");
        assert_eq!(listen(viewer(Role::VillageHead, "411728103001")).await, 404, "another village does not");
        let audited: Vec<String> =
            sqlx::query_scalar("select action from audit").fetch_all(store.reader()).await.unwrap();
        assert_eq!(audited, ["sound.record"]);
    })
    .await;
}

#[tokio::test]
async fn a_text_is_spoken_and_says_what_was_spoken() {
    each_store(async |store| {
        let studio = Studio::new(&store).await;
        let routes = studio.routes(head());
        let made = ask(&routes, "POST", "/api/v1/sounds/speech", json!({"text": "明天8:30停电"})).await;
        assert_eq!(made.status, 201, "{made:?}");
        assert_eq!(made.body["spoken_text"], words::written_out("明天8:30停电"));
        assert!(made.body["duration_ms"].as_i64().unwrap() > 1_000, "{made:?}");
        for (text, code) in [("", "invalid"), ("。。。", "invalid"), (&*"村".repeat(TEXT_CHARS_MAX + 1), "invalid")]
        {
            let refused = ask(&routes, "POST", "/api/v1/sounds/speech", json!({"text": text})).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (422, code), "{refused:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_no_recording_is_refused_and_nothing_is_kept() {
    each_store(async |store| {
        let studio = Studio::new(&store).await;
        let silence = Sound { rate_hz: 16_000, samples: vec![0; 16_000] }.to_wav();
        let long = Sound { rate_hz: 8_000, samples: vec![99; 8_000 * 601] }.to_wav();
        for (media_type, wav, status, code) in [
            ("text/html", recording().to_wav(), 415, "wrong_media_type"),
            ("audio/wav", vec![], 422, "sound.wrong_form"),
            ("audio/wav", b"RIFF but not a sound".to_vec(), 422, "sound.wrong_form"),
            ("audio/wav", recording().to_wav()[..1_001].to_vec(), 422, "sound.wrong_form"),
            ("audio/wav", silence, 422, "sound.silent"),
            ("audio/x-wav", long, 422, "sound.too_long"),
            ("audio/wav", vec![0; 20 * 1024 * 1024 + 1], 413, "sound.too_large"),
        ] {
            let refused = studio.bring(head(), media_type, wav).await;
            assert_eq!((refused.status.as_u16(), refused.code()), (status, code), "{refused:?}");
        }
        let technician = studio.bring(viewer(Role::Technician, VILLAGE), "audio/wav", recording().to_wav()).await;
        assert_eq!(technician.status, 403);
        let kept: i64 = sqlx::query_scalar("select count(*) from sound").fetch_one(store.reader()).await.unwrap();
        assert_eq!(kept, 0);
    })
    .await;
}

#[tokio::test]
async fn a_voice_that_does_not_work_says_so_and_bounds_hold() {
    each_store(async |store| {
        let mut studio = Studio::new(&store).await;
        let held = Arc::clone(&studio.room.arriving).try_acquire_many_owned(RECORDINGS_AT_ONCE_MAX as u32).unwrap();
        let busy = studio.bring(head(), "audio/wav", recording().to_wav()).await;
        assert_eq!((busy.status.as_u16(), busy.code()), (503, "sound.busy"));
        assert!(busy.headers.contains_key(header::RETRY_AFTER));
        drop(held);

        studio.room.voice = Arc::new(Espeak::new(PathBuf::from("/nonexistent/espeak-ng")));
        let mute = ask(&studio.routes(head()), "POST", "/api/v1/sounds/speech", json!({"text": "停电"})).await;
        assert_eq!((mute.status.as_u16(), mute.code()), (503, "voice.unavailable"));

        let mut transaction = store.begin().await.unwrap();
        for number in 0..200 {
            sqlx::query("insert into sound values ($1, '411728102201', 1, 1, 1.0, null, 'a', $2)")
                .bind(format!("{number:064x}"))
                .bind(crate::clock::utc_ms())
                .execute(&mut *transaction)
                .await
                .unwrap();
        }
        transaction.commit().await.unwrap();
        let full = studio.bring(head(), "audio/wav", recording().to_wav()).await;
        assert_eq!((full.status.as_u16(), full.code()), (429, "sound.too_many"));
    })
    .await;
}
