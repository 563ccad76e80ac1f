//! The real program on ALSA's file plug-in, which writes what it plays.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with a sound card that writes to a file, a relay that is one, and a sound.
struct Bench(PathBuf);

impl Bench {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tongluo-line-out-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let bench = Self(folder);
        let tape = bench.path("tape.wav");
        let card =
            format!("pcm.tape {{ type file slave.pcm {{ type null }} file \"{}\" format \"wav\" }}\n", tape.display());
        std::fs::write(bench.path("asound.conf"), card).unwrap();
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 16_000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut wav = hound::WavWriter::create(bench.path("sound.wav"), spec).unwrap();
        (0..8_000).for_each(|at| wav.write_sample(10_000 + (at % 100)).unwrap());
        wav.finalize().unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tongluo-line-out"));
        command.env("ALSA_CONFIG_PATH", self.path("asound.conf")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        command
    }

    /// Plays while the leash is held; what it said.
    fn play(&self, arguments: &[&str]) -> (Vec<String>, Output) {
        let all: Vec<&str> = ["play", "--device", "tape"].iter().chain(arguments).copied().collect();
        let mut child = self.command(&all).spawn().unwrap();
        let leash = child.stdin.take();
        let output = child.wait_with_output().unwrap();
        drop(leash);
        (String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect(), output)
    }

    fn tape(&self) -> Vec<i16> {
        samples(&self.path("tape.wav"))
    }

    fn relay(&self) -> String {
        std::fs::read_to_string(self.path("relay")).unwrap_or_default()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The samples behind the header; ALSA writes the header's lengths only when it closes.
fn samples(path: &Path) -> Vec<i16> {
    let bytes = std::fs::read(path).unwrap();
    bytes[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Reads lines until one begins so.
fn until_said(child: &mut Child, word: &str) -> BufReader<std::process::ChildStdout> {
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with(word) {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "it ended before it said {word}");
    }
    output
}

#[test]
fn a_file_is_played_as_often_as_is_wanted_and_turned_down() {
    let bench = Bench::new();
    let (relay, sound) = (bench.path("relay"), bench.path("sound.wav"));
    let (relay, sound) = (relay.to_str().unwrap(), sound.to_str().unwrap());
    let (said, output) = bench.play(&[
        "--file",
        sound,
        "--times",
        "2",
        "--gap-ms",
        "100",
        "--volume-percent",
        "50",
        "--from-ms",
        "250",
        "--relay",
        relay,
    ]);
    assert!(output.status.success(), "{said:?}");
    assert_eq!((said.first().unwrap().as_str(), said.last().unwrap().as_str()), ("started 0 0", "finished 750 2"));
    let tape = bench.tape();
    assert_eq!(tape.len(), 4_000 + 1_600 + 8_000);
    assert_eq!((tape[0], tape[4_000], tape[5_600]), (5_000, 0, 5_000));
    assert_eq!(bench.relay(), "0", "the amplifier is off again");
}

#[test]
fn it_falls_silent_when_the_leash_is_let_go_and_the_relay_with_it() {
    let bench = Bench::new();
    let relay = bench.path("relay");
    let arguments =
        ["play", "--device", "tape", "--sound", "siren", "--length-ms", "60000", "--relay", relay.to_str().unwrap()];
    let mut child = bench.command(&arguments).spawn().unwrap();
    let leash = child.stdin.take();
    let mut output = until_said(&mut child, "played");
    assert_eq!(bench.relay(), "1");
    drop(leash);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut output, &mut rest).unwrap();
    assert!(rest.lines().last().unwrap().starts_with("stopped "), "{rest}");
    child.wait().unwrap();
    assert_eq!(bench.relay(), "0");
    let tape = bench.tape();
    assert!(tape.len() < 16_000 * 60 && tape.iter().any(|sample| sample.unsigned_abs() > 20_000));
}

#[test]
fn what_cannot_be_played_fails_with_a_reason() {
    let bench = Bench::new();
    let broken = bench.path("broken.wav");
    std::fs::write(&broken, b"RIFF nonsense").unwrap();
    let sound = bench.path("sound.wav");
    for (arguments, why) in [
        (["--file", broken.to_str().unwrap()].as_slice(), "cannot be read"),
        (&["--file", "/nonexistent.wav"], "cannot be read"),
        (&["--file", sound.to_str().unwrap(), "--relay", "/nonexistent/relay"], "relay"),
        (&["--file", sound.to_str().unwrap(), "--relay", "gpiochip99:1"], "relay"),
    ] {
        let (said, output) = bench.play(arguments);
        assert!(!output.status.success());
        let last = said.last().unwrap();
        assert!(last.starts_with("failed 0 0 ") && last.contains(why), "{said:?}");
    }
}

#[test]
fn a_card_that_is_there_answers_and_one_that_is_not_says_so() {
    let bench = Bench::new();
    let check = |device: &str| bench.command(&["check", "--device", device]).output().unwrap();
    assert!(check("tape").status.success());
    let missing = check("nowhere");
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stdout).contains("the sound card nowhere cannot be opened"));
}
