//! `./run demo`: a small county on this machine. A hub, two villages with a gateway, a broker, two buttons, two cameras and
//! loudspeakers each, and the people who would use it. Everything in it is real but the buttons and the loudspeakers, whose messages
//! are real, and what the cameras see.

mod county;
mod eyes;
mod register;
mod running;
mod voices;

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tongluo_tests::button::Press;
use tongluo_tests::clock;
use tongluo_tests::lan::Lan;
use tongluo_tests::mosquitto::Login;

use crate::county::{BUTTONS, County};
use crate::register::Register;
use crate::running::Running;

const USAGE: &str = "usage: tongluo-demo [--camera rtsp://… | --stop | press <button> [sos|single|double|long]]";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        [] => in_runtime(demo(&[])),
        ["--camera", ..] => own_cameras(&words).and_then(|urls| in_runtime(demo(&urls))),
        ["--stop"] => in_runtime(running::stop()),
        ["press", button] => in_runtime(press(button, Press::Sos)),
        ["press", button, what] => what.parse().and_then(|what| in_runtime(press(button, what))),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A terminal that went away cannot be told.
            let _ = writeln!(std::io::stderr(), "{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// One thread, `main`'s own: the programs of the demo must not outlive it (see [`tongluo_tests::child`]).
fn in_runtime<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// Tells the person at the terminal something.
pub(crate) fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    // A terminal that went away is noticed by its signal.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// `--camera URL`, any number of times.
fn own_cameras(words: &[&str]) -> Result<Vec<String>> {
    let pairs = words.chunks(2).map(|pair| match pair {
        ["--camera", url] => Ok((*url).to_owned()),
        _ => bail!(USAGE),
    });
    pairs.collect()
}

async fn demo(own_cameras: &[String]) -> Result<()> {
    let running = Running::begin()?;
    let mut end = running::Ending::listen()?;
    let started = tokio::select! {
        county = County::start(&running, own_cameras) => Some(county?),
        () = end.asked() => None,
    };
    let Some(mut county) = started else {
        bail!("ended before it was ready");
    };
    county.register().write(running.folder())?;
    for line in county.register().who_can_log_in() {
        say(&line);
    }
    say("`./run press zigbee-1` presses a button; Ctrl-C or `./run demo --stop` ends everything.");
    say(&format!("ready: {}", county::URL));
    let result = tokio::select! {
        result = county.live() => result,
        () = end.asked() => Ok(()),
    };
    say("ending the demo");
    county.stop().await;
    result
}

async fn press(id: &str, what: Press) -> Result<()> {
    let folder = running::folder()?;
    if running::process(&folder).is_none() {
        bail!("the demo is not running; `./run demo` starts it");
    }
    let register = Register::read(&folder)?;
    let button = BUTTONS.iter().find(|button| button.id == id).with_context(|| {
        let ids: Vec<_> = BUTTONS.iter().map(|button| button.id).collect();
        format!("there is no button {id:?}; there are: {}", ids.join(", "))
    })?;
    let (port, username, password) = register.lan_of(id)?;
    let mut lan = Lan::connect(port, &Login { username, password }, &format!("press-{}", std::process::id())).await?;
    lan.publish(&button.press(what, county::frame_of_press(clock::utc_ms()))).await?;
    let confirmed = lan.confirmed_of(&button.key()).await?;
    say(&format!("{id} was pressed; its gateway has it on disk as press {}", confirmed.press));
    Ok(())
}
