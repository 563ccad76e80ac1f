//! The kill run: `kill -9` over hub, gateways and brokers, at random, while buttons are pressed. Afterwards every press that a
//! gateway had confirmed must be in the ledger exactly once, and every frame that its device repeats must be confirmed in the end.
//!
//! The generator records what gateways confirmed; the checker compares that with the ledger. Neither shares code with the
//! system. A run is repeated by its seed as far as chance is concerned; what the programs are doing when they are hit is
//! different each time, which is the point.

mod checker;
mod county;
mod dice;
mod generator;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tongluo_tests::clock;
use tongluo_tests::scene::Folder;

use crate::county::{County, Kills, Shape};
use crate::dice::Dice;
use crate::generator::{Generator, Record};

/// What is asked of each of the two runs.
#[derive(Clone, Copy, Debug)]
struct Size {
    kills: usize,
    /// Confirmed ones.
    presses: usize,
    seed: u64,
}

/// Within `./run test`.
const SHORT: Size = Size { kills: 12, presses: 400, seed: 0 };
/// `./run chaos`.
const FULL: Size = Size { kills: 100, presses: 5_000, seed: 0 };

/// A generator at work.
type Running = JoinHandle<Result<Record>>;

fn main() -> ExitCode {
    match size().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("chaos: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(size: Size) -> Result<()> {
    for shape in [Shape::Small, Shape::Large] {
        let name = format!("chaos-{}", format!("{shape:?}").to_lowercase());
        let folder = Folder::new(&name)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let told = runtime.block_on(one(&folder, shape, size));
        if told.is_err() {
            say(&folder.tails());
        }
        let told = told.with_context(|| format!("{shape}, --seed {}", size.seed))?;
        say(&told);
    }
    Ok(())
}

/// One run, and a sentence about it.
async fn one(folder: &Folder, shape: Shape, size: Size) -> Result<String> {
    let started = clock::now();
    let mut dice = Dice::new(size.seed);
    let mut county = County::start(folder, shape).await?;
    let confirmed = Arc::new(AtomicUsize::new(0));
    let (end, ended) = watch::channel(false);
    let mut generators: Vec<Running> = Vec::new();
    for (number, village) in county.villages.iter().enumerate() {
        let lan = village.lan("networks").await?;
        let dice = Dice::new(size.seed.wrapping_add(1 + number as u64));
        let generator = Generator::new(lan, number, dice, Arc::clone(&confirmed)).await?;
        generators.push(tokio::spawn(generator.run(ended.clone())));
    }

    let mut kills = Kills::default();
    while kills.total() < size.kills || confirmed.load(Ordering::Relaxed) < size.presses {
        if generators.iter().any(Running::is_finished) {
            bail!("a generator ended: {}", why(generators).await);
        }
        ensure!(kills.total() < size.kills * 5, "{} presses were confirmed", confirmed.load(Ordering::Relaxed));
        county.close_one(&mut dice).await;
        county.strike(&mut dice, &mut kills).await?;
    }
    end.send_replace(true);
    let mut records = Vec::new();
    for (generator, village) in generators.into_iter().zip(&county.villages) {
        records.push((village.site_id.clone(), generator.await??));
    }
    county.wait_until_quiet().await?;
    let verdict = checker::check(&county.hub.ledger_address(), &records).await?;
    let pressed: usize = records.iter().map(|(_, record)| record.pressed).sum();
    let confirmed: usize = records.iter().map(|(_, record)| record.confirmed.len()).sum();
    let unconfirmed: usize = records.iter().map(|(_, record)| record.unconfirmed).sum();
    let told = format!(
        "chaos: {shape}, --seed {}: {} kills (hub {}, gateways {}, village brokers {}, county broker {}), {pressed} presses, \
         {confirmed} confirmed ({unconfirmed} frames never were); the ledger holds {} in {} alarms; {} lost, {} twice; {} s",
        size.seed,
        kills.total(),
        kills.hub,
        kills.gateways,
        kills.village_brokers,
        kills.county_broker,
        verdict.in_ledger,
        verdict.alarms,
        verdict.lost,
        verdict.twice,
        clock::now().duration_since(started).as_secs(),
    );
    ensure!(verdict.lost == 0 && verdict.twice == 0, "{told}");
    ensure!(unconfirmed == 0, "the light of some buttons stays dark: {told}");
    Ok(told)
}

/// What ended a generator before its time.
async fn why(generators: Vec<Running>) -> String {
    for generator in generators.into_iter().filter(Running::is_finished) {
        match generator.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return format!("{error:#}"),
            Err(panic) => return panic.to_string(),
        }
    }
    "it was not asked to".to_owned()
}

/// Reads the command line. What it does not know belongs to cargo's own test runner and means nothing here.
fn size() -> Result<Size> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let mut size = if words.iter().any(|word| word == "--full") { FULL } else { SHORT };
    let mut random = [0; 4];
    getrandom::fill(&mut random).expect("the system gives random numbers");
    size.seed = u64::from(u32::from_le_bytes(random));
    for pair in words.windows(2) {
        let number = || pair[1].parse::<usize>().with_context(|| format!("{} {:?} is not a number", pair[0], pair[1]));
        match pair[0].as_str() {
            "--kills" => size.kills = number()?,
            "--presses" => size.presses = number()?,
            "--seed" => size.seed = number()? as u64,
            _ => {}
        }
    }
    Ok(size)
}

fn say(line: &str) {
    // Without an output there is nobody to tell.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
