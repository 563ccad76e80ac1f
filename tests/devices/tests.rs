//! The camera as strangers see it: ffmpeg, and a client of these tests that knows RTSP only as far as it must.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fault::Mishap;
use super::{Camera, Channel, Clip, Codec, Fault, Microphone, Picture, Plan, Recipe, View, face};
use crate::gst::{GstRecorder, Stream};
use crate::mosquitto::Login;
use crate::scene::play;
use crate::{clock, wait};

/// Two seconds, so that a test soon sees the seam.
const SHORT: Recipe = Recipe { seconds: 2, ..Recipe::TINY };
const PATIENCE: Duration = Duration::from_secs(10);

fn plan(recipe: Recipe) -> Plan {
    Plan { channels: vec![Channel { path: "main".to_owned(), recipe }], ..Plan::tiny() }
}

fn open_plan() -> Plan {
    Plan { login: None, ..plan(SHORT) }
}

/// Records so many seconds without decoding, on a thread of its own: the camera needs this one.
async fn ffmpeg(url: &str, seconds: &str, to: &Path) -> Result<()> {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-hide_banner",
        "-loglevel",
        "error",
        "-y",
        "-rtsp_transport",
        "tcp",
        "-timeout",
        "5000000",
        "-i",
        url,
    ]);
    command.args(["-t", seconds, "-c", "copy"]).arg(to);
    tokio::task::spawn_blocking(move || crate::child::output("ffmpeg", &mut command)).await??;
    Ok(())
}

#[test]
fn ffmpeg_sees_every_picture_once_and_in_order_across_the_seam() {
    let h265 = Recipe { codec: Codec::H265, ..SHORT };
    let b_frames = Recipe { b_frames: 2, ..SHORT };
    let open_gop = Recipe { seconds: 2, ..Recipe::TINY_OPEN_GOP };
    for (name, recipe) in
        [("seen.h264", SHORT), ("seen.hevc", h265), ("seen-b.h264", b_frames), ("seen-open.hevc", open_gop)]
    {
        play(name, async |folder| {
            let camera = Camera::start(Plan { microphone: Some(Microphone::Tone), ..plan(recipe) }).await?;
            // A bare stream, which has no times: those of B-frames are more than ffmpeg can copy.
            let file = folder.path().join(name);
            ffmpeg(&camera.url_with_login("main"), "3.5", &file).await?;
            let numbers: Vec<u32> = face::read_file(&file, 200)?.into_iter().flatten().collect();
            ensure!(numbers.len() > 60, "{} pictures", numbers.len());
            // What precedes the first keyframe cannot be decoded, and what was cut off at the end lacks its successors.
            let whole = &numbers[10..numbers.len() - 5];
            for pair in whole.windows(2) {
                assert_eq!(pair[1], (pair[0] + 1) % recipe.frames(), "{whole:?}");
            }
            Ok(())
        });
    }
}

#[test]
fn gstreamers_recorder_plays_across_the_seam_to_whom_it_knows() {
    play("gst", async |folder| {
        let recorder =
            GstRecorder::start(folder.path(), &[Stream { path: "1/main".to_owned(), recipe: SHORT, ambience: None }])
                .await?;
        let (url, Login { username, password }) = (recorder.url("1/main"), recorder.login());
        let file = folder.path().join("seen.h264");
        let refused = ffmpeg(&url, "1", &file).await.expect_err("without a password").to_string();
        assert!(refused.contains("401"), "{refused}");
        ffmpeg(&url.replace("rtsp://", &format!("rtsp://{username}:{password}@")), "3", &file).await?;
        let numbers: Vec<u32> = face::read_file(&file, 200)?.into_iter().flatten().collect();
        ensure!(numbers.len() > 50, "{} pictures", numbers.len());
        assert!(numbers[5..].windows(2).all(|pair| pair[1] == (pair[0] + 1) % SHORT.frames()), "{numbers:?}");
        Ok(())
    });
}

#[test]
fn a_picture_without_a_clock_reads_as_none() {
    assert_eq!(face::read(&[0; 320 * 180], 320, 180), None);
    assert_eq!(face::read(&[255; 320 * 180], 320, 180), None);
    assert_eq!(face::read(&[0; 10], 320, 180), None);
    assert_eq!(face::read(&[], 0, 0), None);
}

#[test]
fn the_views_of_a_village_can_be_made() {
    for view in [View::Gate, View::Square, View::Clinic, View::Dam] {
        let recipe = Recipe { picture: Picture::Village(view), ..SHORT };
        let clip = Clip::load(recipe).expect("ffmpeg draws it");
        assert_eq!(clip.units.len(), 50);
    }
}

#[test]
fn a_picture_tells_how_old_it_is() {
    assert_eq!(SHORT.age_us(0, 4_000_000), 0);
    assert_eq!(SHORT.age_us(49, 4_000_000), 40_000);
    assert_eq!(SHORT.age_us(10, 5_000_000), 600_000);
    play("age", async |_| {
        let camera = Camera::start(open_plan()).await?;
        let mut client = Client::play(&camera).await?;
        client.packet().await?;
        let sent = wait::until("a picture to be noted", async || {
            Ok((0..50).filter_map(|number| camera.sent_us("main", number).map(|sent_us| (number, sent_us))).next())
        });
        let (number, sent_us) = sent.await?;
        // Sent when it was due, as far as a busy machine lets it.
        assert!(SHORT.age_us(number, sent_us) < 500_000);
        Ok(())
    });
}

#[test]
fn wrong_passwords_lock_out_and_the_right_one_comes_in_later() {
    play("lock", async |folder| {
        let lock = Duration::from_secs(1);
        let camera = Camera::start(Plan { tries_max: 2, lock, ..plan(SHORT) }).await?;
        let file = folder.path().join("seen.mkv");
        let wrong = camera.url("main").replace("rtsp://", "rtsp://admin:wrong@");
        let refused = ffmpeg(&wrong, "1", &file).await.expect_err("a wrong password").to_string();
        assert!(refused.contains("401"), "{refused}");
        let locked = ffmpeg(&wrong, "1", &file).await.expect_err("too many").to_string();
        assert!(locked.contains("403"), "{locked}");
        let locked = ffmpeg(&camera.url_with_login("main"), "1", &file).await.expect_err("still locked").to_string();
        assert!(locked.contains("403"), "{locked}");
        clock::pause(lock).await;
        ffmpeg(&camera.url_with_login("main"), "0.5", &file).await?;
        camera.set(Fault::WrongPassword).await?;
        let changed = ffmpeg(&camera.url_with_login("main"), "1", &file).await.expect_err("changed").to_string();
        assert!(changed.contains("401"), "{changed}");
        assert_eq!((camera.counts().wrong_passwords, camera.counts().locked_out), (2, 2));
        Ok(())
    });
}

#[test]
fn faults_show_at_once_and_pass() {
    play("faults", async |_| {
        let camera = Camera::start(open_plan()).await?;
        for fault in [Fault::Unreachable, Fault::NoSuchStream, Fault::Unsupported, Fault::Garbage, Fault::Silent] {
            let mut client =
                wait::until("the camera to be back", async || Ok(Client::play(&camera).await.ok())).await?;
            client.packet().await?;
            camera.set(fault).await?;
            let seen = async { while client.packet().await.is_ok() {} };
            // Those that cut, cut; silence and garbage are met by the next client, or by this one's patience.
            if fault != Fault::Silent {
                tokio::time::timeout(PATIENCE, seen).await.with_context(|| format!("{fault:?} was not felt"))?;
            }
            let asked = tokio::time::timeout(Duration::from_millis(500), Client::play(&camera)).await;
            // This client would take any codec.
            assert!(!matches!(asked, Ok(Ok(_))) || fault == Fault::Unsupported, "{fault:?} lets in");
            camera.set(Fault::None).await?;
        }
        let mut client = wait::until("the camera to be back", async || Ok(Client::play(&camera).await.ok())).await?;
        client.packet().await?;
        Ok(())
    });
}

#[test]
fn a_stall_keeps_the_connection_and_answers() {
    play("stall", async |_| {
        let camera = Camera::start(open_plan()).await?;
        let mut client = Client::play(&camera).await?;
        camera.set(Fault::Stall).await?;
        let quiet = async { while tokio::time::timeout(Duration::from_millis(400), client.packet()).await.is_ok() {} };
        tokio::time::timeout(PATIENCE, quiet).await.context("packets all the time")?;
        let kept = client.ask("GET_PARAMETER").await?;
        assert!(kept.starts_with("RTSP/1.0 200"), "{kept}");
        camera.set(Fault::None).await?;
        client.packet().await?;
        camera.suffer(Mishap::Forget);
        let forgotten = wait::until("the session to be forgotten", async || {
            let answer = client.ask("GET_PARAMETER").await?;
            Ok(answer.starts_with("RTSP/1.0 454").then_some(()))
        });
        forgotten.await?;
        assert_eq!(camera.sessions(), 0);
        camera.suffer(Mishap::Reset);
        let gone = async { while client.packet().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, gone).await.context("it was not reset")
    });
}

#[test]
fn time_jumps_and_packets_are_lost() {
    play("jump", async |_| {
        let camera = Camera::start(open_plan()).await?;
        let mut client = Client::play(&camera).await?;
        let before = client.packet().await?;
        camera.suffer(Mishap::Jump(-30_000));
        let jumped = loop {
            let packet = client.packet().await?;
            if (packet.timestamp.wrapping_sub(before.timestamp) as i32) < -20 * 90_000 {
                break packet;
            }
        };
        camera.set(Fault::Loss(5)).await?;
        let mut last = jumped.sequence;
        for _ in 0..1_000 {
            let packet = client.packet().await?;
            let step = packet.sequence.wrapping_sub(last);
            last = packet.sequence;
            if step == 2 {
                return Ok(());
            }
            ensure!(step == 1, "a step of {step}");
        }
        bail!("nothing was lost")
    });
}

#[test]
fn the_picture_changes_at_a_keyframe() {
    play("changes", async |_| {
        let camera = Camera::start(open_plan()).await?;
        let mut client = Client::play(&camera).await?;
        let mut sets = HashSet::new();
        for fault in [Fault::None, Fault::OtherParameters] {
            camera.set(fault).await?;
            let until = clock::now() + Duration::from_millis(1500);
            while clock::now() < until {
                let packet = client.packet().await?;
                if packet.payload[0] & 0x1f == 7 {
                    sets.insert(packet.payload);
                }
            }
        }
        assert_eq!(sets.len(), 2, "two sizes, two sequence parameter sets");
        Ok(())
    });
}

#[test]
fn sessions_have_a_limit_and_lost_ones_may_keep_their_place() {
    play("sessions", async |_| {
        let short = Duration::from_secs(1);
        let plan = Plan { sessions_max: 2, keeps_lost_sessions: true, session_timeout: short, ..open_plan() };
        let camera = Camera::start(plan).await?;
        let first = Client::play(&camera).await?;
        let mut second = Client::play(&camera).await?;
        let refused = Client::play(&camera).await.err().context("a third session")?.to_string();
        assert!(refused.contains("453"), "{refused}");
        drop(first);
        assert!(Client::play(&camera).await.is_err(), "the lost session keeps its place");
        let ended = second.ask("TEARDOWN").await?;
        assert!(ended.starts_with("RTSP/1.0 200"), "{ended}");
        let mut third = Client::play(&camera).await?;
        // Nobody keeps it alive.
        let ended = async { while third.packet().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, ended).await.context("it was kept")?;
        assert_eq!(camera.counts().timed_out, 1);
        wait::until("all places to be free", async || Ok((camera.sessions() == 0).then_some(()))).await
    });
}

#[test]
fn nonsense_is_answered_or_cut_off() {
    play("nonsense", async |_| {
        let camera = Camera::start(open_plan()).await?;
        for (nonsense, answer) in [
            ("DANCE rtsp://x/main RTSP/1.0\r\nCSeq: 1\r\n\r\n", "RTSP/1.0 501"),
            (
                "SETUP rtsp://x/main/track1 RTSP/1.0\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n",
                "RTSP/1.0 461",
            ),
            ("SETUP rtsp://x/main/track9 RTSP/1.0\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n", "RTSP/1.0 404"),
            ("PLAY rtsp://x/main RTSP/1.0\r\nSession: 1\r\n\r\n", "RTSP/1.0 454"),
            ("DESCRIBE rtsp://x RTSP/1.0\r\n\r\n", "RTSP/1.0 404"),
            ("GET / HTTP/1.1\r\n\r\n", ""),
            ("DESCRIBE rtsp://x/main RTSP/1.0\r\nContent-Length: 99999\r\n\r\n", ""),
        ] {
            let mut stream = TcpStream::connect(("127.0.0.1", camera.port())).await?;
            stream.write_all(nonsense.as_bytes()).await?;
            let mut first = vec![0; answer.len().max(1)];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut first)).await?.unwrap_or(0);
            assert_eq!(String::from_utf8_lossy(&first[..read]), answer, "to {nonsense:?}");
        }
        Ok(())
    });
}

/// A client that keeps nothing alive.
struct Client {
    stream: TcpStream,
    url: String,
    session: String,
}

/// What a test looks at in an RTP packet.
struct Packet {
    sequence: u16,
    timestamp: u32,
    payload: Vec<u8>,
}

impl Client {
    async fn play(camera: &Camera) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", camera.port())).await?;
        let mut client = Self { stream, url: camera.url("main"), session: String::new() };
        client.ask("DESCRIBE").await?;
        client.url += "/track1";
        let set_up = client.ask("SETUP").await?;
        ensure!(set_up.starts_with("RTSP/1.0 200"), "{set_up}");
        let session = set_up.split("Session: ").nth(1).and_then(|rest| rest.split(';').next());
        client.session = format!("Session: {}\r\n", session.context("no session")?);
        client.url = camera.url("main");
        let playing = client.ask("PLAY").await?;
        ensure!(playing.starts_with("RTSP/1.0 200"), "{playing}");
        Ok(client)
    }

    /// Asks, and skips packets until the answer comes. The description is not looked at.
    async fn ask(&mut self, method: &str) -> Result<String> {
        let Self { url, session, .. } = self;
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";
        let request = format!("{method} {url} RTSP/1.0\r\nCSeq: 1\r\n{transport}{session}\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        loop {
            let first = self.stream.read_u8().await?;
            if first == b'$' {
                self.frame().await?;
                continue;
            }
            let mut answer = vec![first];
            while !answer.ends_with(b"\r\n\r\n") {
                ensure!(answer.len() < 4_096, "an answer without an end");
                answer.push(self.stream.read_u8().await?);
            }
            let answer = String::from_utf8(answer)?;
            let length = answer.split("Content-Length: ").nth(1).and_then(|rest| rest.split('\r').next());
            let mut body = vec![0; length.unwrap_or("0").parse()?];
            self.stream.read_exact(&mut body).await?;
            return Ok(answer);
        }
    }

    async fn frame(&mut self) -> Result<(u8, Vec<u8>)> {
        let channel = self.stream.read_u8().await?;
        let mut payload = vec![0; usize::from(self.stream.read_u16().await?)];
        self.stream.read_exact(&mut payload).await?;
        Ok((channel, payload))
    }

    /// The next RTP packet; sender reports are passed over.
    async fn packet(&mut self) -> Result<Packet> {
        loop {
            ensure!(self.stream.read_u8().await? == b'$', "no packet");
            let (channel, bytes) = self.frame().await?;
            if channel == 0 {
                return Ok(Packet {
                    sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
                    timestamp: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
                    payload: bytes[12..].to_vec(),
                });
            }
        }
    }
}
