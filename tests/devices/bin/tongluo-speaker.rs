//! `tongluo-speaker`: a virtual loudspeaker of a village, until it is ended.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use tongluo_protocols::device::speaker::Key;
use tongluo_tests::devices::speaker::{Speaker, SpeakerPlan};
use tongluo_tests::mosquitto::Login;

const USAGE: &str = "usage: tongluo-speaker ID BROKER-PORT USERNAME FOLDER, with its key and the broker's password, a line each, \
                     on standard input";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [id, port, username, folder] = arguments.as_slice() else {
        bail!("{USAGE}");
    };
    let secrets = std::io::read_to_string(std::io::stdin())?;
    let [key, password] = secrets.lines().collect::<Vec<_>>()[..] else {
        bail!("{USAGE}");
    };
    let plan = SpeakerPlan {
        id: id.clone(),
        key: Key::new(read_key(key)?),
        broker_port: port.parse().with_context(|| format!("{port:?} is no port"))?,
        login: Login { username: username.clone(), password: password.to_owned() },
        folder: PathBuf::from(folder),
    };
    let _speaker = Speaker::start(plan)?;
    std::future::pending::<()>().await;
    Ok(())
}

/// A key as 64 hexadecimal digits.
fn read_key(text: &str) -> Result<[u8; 32]> {
    let mut key = [0; 32];
    anyhow::ensure!(text.len() == 64 && text.is_ascii(), "a key has 64 hexadecimal digits");
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).context("a key has 64 hexadecimal digits")?;
    }
    Ok(key)
}
