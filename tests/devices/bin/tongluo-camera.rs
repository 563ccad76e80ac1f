//! Cameras to be run by hand, by the browser tests and by the benchmark: each on a port of its own, with a clock in its
//! picture, and with faults that are switched by typing.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::signal::unix::{SignalKind, signal};
use tongluo_tests::devices::{Camera, Codec, Microphone, Plan, Recipe};
use tongluo_tests::mosquitto::Login;

const USAGE: &str = "usage: tongluo-camera [options]
  --cameras N            so many, each on its own port (1)
  --recipe NAME          main (1080p), hd (720p) or tiny (180p) as the main stream; the sub stream fits it (main)
  --h265                 encoded so
  --gop FRAMES           from one keyframe to the next; must divide the pictures of the file
  --b-frames N           B-frames between two others (0)
  --port P               of the first camera; the others follow (any free)
  --login NAME:PASSWORD  (admin, and a random password); --no-login lets everybody in
  --sessions N           at most (6)
  --audio                with a microphone that hears a tone
Prints one line of JSON when they listen. Then type CAMERA WORD, where CAMERA is a number from 0 or `all`, and WORD a fault (none,
unreachable, silent, slow:MS, garbage, wrong-password, no-such-stream, unsupported, stall, other-parameters, loss:N, black, frozen),
a mishap (reset, jump:MS, forget, clock:MS), or `counts`. Ends when it is told to (Ctrl-C).";

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A terminal that went away cannot be told.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let (plan, count) = arguments(std::env::args().skip(1))?;
    let mut end = signal(SignalKind::terminate())?;
    let cameras = start(&plan, count).await?;
    say(&register(&plan, &cameras))?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut is_heard = true;
    loop {
        tokio::select! {
            line = lines.next_line(), if is_heard => match line? {
                Some(line) => {
                    if let Err(error) = obey(&cameras, &line).await {
                        say(&json!({ "error": format!("{error:#}") }))?;
                    }
                }
                None => is_heard = false,
            },
            _ = end.recv() => return Ok(()),
            pressed = tokio::signal::ctrl_c() => return Ok(pressed?),
        }
    }
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<(Plan, u16)> {
    let (mut main, mut sub, mut count) = (Recipe::MAIN, Recipe::SUB, 1);
    let mut plan = Plan::new(main, sub);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} wants a value\n{USAGE}"));
        match word.as_str() {
            "--cameras" => count = value()?.parse()?,
            "--recipe" => {
                (main, sub) = match value()?.as_str() {
                    "main" => (Recipe { codec: main.codec, ..Recipe::MAIN }, Recipe::SUB),
                    "hd" => (Recipe { codec: main.codec, ..Recipe::HD }, Recipe::SUB),
                    "tiny" => (Recipe { codec: main.codec, ..Recipe::TINY }, Recipe::TINY_SUB),
                    other => bail!("{other:?} is no recipe\n{USAGE}"),
                }
            }
            "--h265" => main.codec = Codec::H265,
            "--gop" => main.gop_frames = value()?.parse()?,
            "--b-frames" => main.b_frames = value()?.parse()?,
            "--port" => plan.port = Some(value()?.parse()?),
            "--login" => {
                let text = value()?;
                let (username, password) = text.split_once(':').context("--login wants NAME:PASSWORD")?;
                plan.login = Some(Login { username: username.to_owned(), password: password.to_owned() });
            }
            "--no-login" => plan.login = None,
            "--sessions" => plan.sessions_max = value()?.parse()?,
            "--audio" => plan.microphone = Some(Microphone::Tone),
            "--help" => bail!(USAGE),
            other => bail!("{other:?} is not known\n{USAGE}"),
        }
    }
    ensure!((1..=256).contains(&count), "from 1 to 256 cameras");
    plan.channels = Plan::new(main, sub).channels;
    Ok((plan, count))
}

/// Starts them a part of a picture's time apart, so that they do not all send at once.
async fn start(plan: &Plan, count: u16) -> Result<Vec<Camera>> {
    let picture = Duration::from_secs(1) / plan.channels[0].recipe.frames_per_s;
    let mut cameras = Vec::new();
    for number in 0..count {
        let port = plan.port.map(|first| first.checked_add(number).context("too high a port")).transpose()?;
        let phase = picture * u32::from(number) / u32::from(count);
        cameras.push(Camera::start(Plan { port, phase, ..plan.clone() }).await?);
    }
    Ok(cameras)
}

fn register(plan: &Plan, cameras: &[Camera]) -> serde_json::Value {
    let recipe = plan.channels[0].recipe;
    let camera = |camera: &Camera| {
        json!({
            "main": camera.url("main"),
            "sub": camera.url("sub"),
            "main_with_login": camera.url_with_login("main"),
            "username": camera.login().map(|login| &login.username),
            "password": camera.login().map(|login| &login.password),
        })
    };
    json!({
        "cameras": cameras.iter().map(camera).collect::<Vec<_>>(),
        "frames_per_s": recipe.frames_per_s,
        "seconds": recipe.seconds,
        "width": recipe.width,
        "height": recipe.height,
    })
}

/// One line that somebody typed.
async fn obey(cameras: &[Camera], line: &str) -> Result<()> {
    let (which, word) = line.trim().split_once(' ').context("type CAMERA WORD")?;
    let chosen = if which == "all" {
        cameras
    } else {
        let number: usize = which.parse().context("CAMERA is a number or `all`")?;
        cameras.get(number..=number).with_context(|| format!("there is no camera {number}"))?
    };
    for camera in chosen {
        if word == "counts" {
            let counts = camera.counts();
            say(&json!({
                "sessions": camera.sessions(),
                "connections": counts.connections,
                "plays": counts.plays,
                "teardowns": counts.teardowns,
                "wrong_passwords": counts.wrong_passwords,
                "locked_out": counts.locked_out,
            }))?;
        } else if let Ok(mishap) = word.parse() {
            camera.suffer(mishap);
            say(&json!({ "did": word }))?;
        } else {
            camera.set(word.parse()?).await?;
            say(&json!({ "is": word }))?;
        }
    }
    Ok(())
}

fn say(line: &serde_json::Value) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    Ok(output.flush()?)
}
