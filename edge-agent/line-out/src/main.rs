//! `tongluo-line-out`: plays one sound on this machine's sound card, for the gateway that started it, and ends.
//!
//! It says on standard output how far it has come, a line each: `started`, `played MS TIMES` every second, and last `finished`,
//! `stopped` or `failed`, each with how much was heard, how often to the end, and why. Standard input is its leash: when that is
//! closed, it falls silent at once. A gateway that dies therefore takes its sound with it. The relay that switches the
//! amplifier is held for as long as this program plays; the system gives a GPIO line back whatever becomes of the program.
//!
//! **Finished** means that the sound card has taken every sample and says that it has played them. Nobody has listened.

mod card;
mod clock;
mod leash;
mod player;
mod relay;
mod sound;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};

use card::Card;
use leash::Leash;
use player::{Ended, Player, Progress};
use sound::{BuiltIn, Source};

/// The rate at which a card is tried: every card plays it, some by way of ALSA's conversion.
const TRIED_RATE_HZ: u32 = 48_000;

#[derive(Parser)]
#[command(name = "tongluo-line-out", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Plays until it is finished or standard input is closed.
    Play(Play),
    /// Opens the sound card and the relay, says whether they answer, and ends.
    Check(Output),
}

#[derive(Args)]
struct Output {
    /// ALSA's name of the sound card.
    #[arg(long, default_value = "default")]
    device: String,
    /// The amplifier's relay: `gpiochip0:17`, or a file that takes 1 and 0.
    #[arg(long)]
    relay: Option<String>,
    /// The relay switches on when its line is low.
    #[arg(long)]
    relay_active_low: bool,
}

#[derive(Args)]
struct Play {
    #[command(flatten)]
    output: Output,
    /// How long the amplifier takes before it can be heard.
    #[arg(long, default_value_t = 0)]
    warm_up_ms: u16,
    /// How loud.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100))]
    volume_percent: u8,
    /// A WAV file: 16 bits, one channel.
    #[arg(long, conflicts_with = "sound", required_unless_present = "sound")]
    file: Option<PathBuf>,
    /// How often the file is played.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=20))]
    times: u8,
    /// Silence between two times.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=60_000))]
    gap_ms: u32,
    /// How far into the file its first time begins.
    #[arg(long, default_value_t = 0)]
    from_ms: u32,
    /// A sound that needs no file.
    #[arg(long, requires = "length_ms")]
    sound: Option<Name>,
    /// For how long.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    length_ms: Option<u32>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Name {
    Chime,
    Siren,
    Test,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Play(play) => run(&play),
        Command::Check(output) => match check(&output) {
            Ok(()) => {
                say("the sound card answers");
                ExitCode::SUCCESS
            }
            Err(error) => {
                say(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        },
    }
}

fn run(play: &Play) -> ExitCode {
    let mut told = Progress::default();
    let ended = sounded(play, |progress| {
        let word = if progress.begins() { "started" } else { "played" };
        say(&format!("{word} {} {}", progress.played_ms, progress.times));
        told = progress;
    });
    match ended {
        Ok(ended) => {
            let (word, Progress { played_ms, times }) = match ended {
                Ended::Finished(progress) => ("finished", progress),
                Ended::Stopped(progress) => ("stopped", progress),
            };
            say(&format!("{word} {played_ms} {times}"));
            ExitCode::SUCCESS
        }
        Err(error) => {
            let why = format!("{error:#}").replace('\n', " ");
            say(&format!("failed {} {} {why}", told.played_ms, told.times));
            ExitCode::FAILURE
        }
    }
}

fn sounded(play: &Play, tell: impl FnMut(Progress)) -> anyhow::Result<Ended> {
    let source = match (&play.file, play.sound) {
        (Some(path), _) => Source::file(path, play.times, play.gap_ms, play.from_ms)?,
        (None, Some(name)) => Source::built_in(built_in(name), play.length_ms.unwrap_or_default()),
        (None, None) => anyhow::bail!("nothing is to be played"),
    };
    let leash = Leash::hold();
    // The card first: an amplifier that is switched on for nothing only hums.
    let card = Card::open(&play.output.device, source.rate_hz())?;
    let _relay = switch(&play.output, true)?;
    let mut player = Player { card, leash, volume_percent: play.volume_percent, tell };
    if !player.warm_up(play.warm_up_ms) {
        return Ok(Ended::Stopped(Progress::default()));
    }
    player.play(source)
}

fn check(output: &Output) -> anyhow::Result<()> {
    Card::open(&output.device, TRIED_RATE_HZ)?;
    switch(output, false)?;
    Ok(())
}

/// Takes the relay, if there is one, and switches it.
fn switch(output: &Output, on: bool) -> anyhow::Result<Option<relay::Held>> {
    let Some(name) = &output.relay else { return Ok(None) };
    let held = relay::Held::take(name, output.relay_active_low, on);
    held.map(Some).with_context(|| format!("the relay {name} cannot be switched"))
}

fn built_in(name: Name) -> BuiltIn {
    match name {
        Name::Chime => BuiltIn::Chime,
        Name::Siren => BuiltIn::Siren,
        Name::Test => BuiltIn::Test,
    }
}

/// A gateway that does not listen any more has let the leash go, too.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    let _ = writeln!(output, "{line}");
    let _ = output.flush();
}
