//! Speech by espeak-ng, a program of Debian's: robotic, but understood, small, and free of any network.
//!
//! It runs as a process of its own for each text, bounded in time; the text goes in by standard input, so no text can be
//! taken for an option.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::sound::Sound;
use super::{Voice, VoiceError};

/// The voice that reads characters well. Plain `cmn` is broken: almost nothing of it is understood.
const VOICE: &str = "cmn-latn-pinyin";
/// Words a minute. Slower than in a room: loudspeakers of a village overlap, and their echoes do.
const WORDS_A_MINUTE: &str = "150";
/// espeak-ng speaks some hundred times faster than it sounds; a text that takes longer has met a hung process.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program, and where it is.
#[derive(Clone, Debug)]
pub struct Espeak {
    program: PathBuf,
}

impl Espeak {
    /// `program`: its path, or its name to be looked for.
    pub fn new(program: PathBuf) -> Self {
        Self { program }
    }

    async fn run(&self, text: &str) -> Result<Vec<u8>, VoiceError> {
        let mut child = Command::new(&self.program)
            .args(["-v", VOICE, "-s", WORDS_A_MINUTE, "--stdin", "--stdout"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| VoiceError::Engine(format!("{} cannot be started: {error}", self.program.display())))?;
        let mut stdin = child.stdin.take().expect("standard input was asked for");
        let text = text.to_owned();
        // Beside the reading: a process that answers before it has read everything must not make both wait.
        let feeding = tokio::spawn(async move { stdin.write_all(text.as_bytes()).await });
        let output = child.wait_with_output().await.map_err(|error| VoiceError::Engine(error.to_string()))?;
        // What was not read the exit status tells of.
        let _ = feeding.await;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(VoiceError::Engine(format!("espeak-ng ended with {}: {}", output.status, said.trim())));
        }
        Ok(output.stdout)
    }
}

#[async_trait::async_trait]
impl Voice for Espeak {
    async fn say(&self, written_out: &str) -> Result<Sound, VoiceError> {
        let wav = tokio::time::timeout(PATIENCE, self.run(written_out))
            .await
            .map_err(|_| VoiceError::Engine(format!("espeak-ng did not answer within {} s", PATIENCE.as_secs())))??;
        Ok(Sound::from_wav(&with_true_length(wav))?)
    }
}

/// espeak-ng writes to a pipe and cannot go back, so it declares the longest possible length; here the true one is put in.
fn with_true_length(mut wav: Vec<u8>) -> Vec<u8> {
    const HEADER: usize = 44;
    if wav.len() >= HEADER && wav.starts_with(b"RIFF") && &wav[36..40] == b"data" {
        wav.truncate(HEADER + (wav.len() - HEADER) / 2 * 2);
        let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
        let (riff, data) = (length(wav.len() - 8), length(wav.len() - HEADER));
        wav[4..8].copy_from_slice(&riff);
        wav[40..44].copy_from_slice(&data);
    }
    wav
}
