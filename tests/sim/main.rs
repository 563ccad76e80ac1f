//! A village in virtual time: both directions of the link over a network that drops, delays, repeats, reorders and cuts, with
//! crashes that lose what was not committed, disks that are rolled back, cloned and lost, and a hub that is restored from a
//! backup.
//!
//! Everything that matters is the real thing: the sender and receiver machines, and every byte between them. What is played
//! is the world around them: disks ([`disk`]), the two tasks at each end of a site's link ([`end`]), time and the network
//! ([`world`]), and what goes wrong ([`misfortune`]). What must hold whatever happens is written down apart from all of it
//! ([`oracle`]).
//!
//! A run is a pure function of its seed. Without arguments a thousand are lived, on as many threads as there are cores;
//! `./run sim --seeds N` lives any number. A failure prints its seed and the last events.
//!
//! A simulation that cannot fail proves nothing: [`Mutant`] breaks one rule of the link at a time, and each has to be caught.

#![expect(clippy::print_stdout, reason = "a command for people, whose output is its purpose")]

mod disk;
mod end;
mod misfortune;
mod oracle;
mod random;
mod run;
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use run::{Failure, Mutant, Summary, run};

const USAGE: &str = "sim [--seeds N] [--from S] [--mutant NAME | --mutant all]";

/// How many seeds are lived without arguments, and how many a mutant gets to be caught in.
const SEEDS: u64 = 1_000;
const MUTANT_SEEDS: u64 = 200;

/// Which runs to live.
#[derive(Clone, Copy)]
struct Seeds {
    from: u64,
    count: u64,
}

impl Seeds {
    fn range(self) -> std::ops::Range<u64> {
        self.from..self.from.saturating_add(self.count)
    }
}

/// What is asked for.
enum Task {
    /// What belongs to the tests: the first seeds, and every mutant.
    Prove,
    /// These seeds.
    Live(Seeds),
    /// Which of these seeds catch these mutants.
    Catch(Seeds, Vec<Mutant>),
}

fn main() -> ExitCode {
    let has_held = match task(std::env::args().skip(1)) {
        Ok(Task::Prove) => prove(),
        Ok(Task::Live(seeds)) => live(seeds).is_some(),
        Ok(Task::Catch(seeds, mutants)) => mutants.into_iter().filter(|mutant| !catch(seeds, *mutant)).count() == 0,
        Err(problem) => {
            println!("sim: {problem}\n{USAGE}\nmutants: {:?}", Mutant::ALL);
            return ExitCode::from(2);
        }
    };
    if has_held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn task(mut words: impl Iterator<Item = String>) -> Result<Task, String> {
    let mut count = None;
    let mut from = 0;
    let mut mutants = Vec::new();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} wants a value"))?;
        let number = || value.parse().map_err(|_| format!("{word} wants a number, not {value}"));
        match word.as_str() {
            "--seeds" => count = Some(number()?),
            "--from" => from = number()?,
            "--mutant" if value == "all" => mutants = Mutant::ALL.to_vec(),
            "--mutant" => {
                let mutant = Mutant::ALL.into_iter().find(|mutant| format!("{mutant:?}") == value);
                mutants.push(mutant.ok_or_else(|| format!("{value} is no mutant"))?);
            }
            _ => return Err(format!("{word} is not known")),
        }
    }
    Ok(match (count, mutants.is_empty()) {
        (None, true) if from == 0 => Task::Prove,
        (count, true) => Task::Live(Seeds { from, count: count.unwrap_or(SEEDS) }),
        (count, false) => Task::Catch(Seeds { from, count: count.unwrap_or(MUTANT_SEEDS) }, mutants),
    })
}

/// The first seeds hold, and were not dull; a run is a function of its seed; each broken rule is caught.
fn prove() -> bool {
    let Some(sum) = live(Seeds { from: 0, count: SEEDS }) else {
        return false;
    };
    let was_eventful = sum.misfortunes > 10_000 && sum.confirmed > 100_000 && sum.lost > 100 && sum.unheard > 100;
    let is_repeatable = (0..5).all(|seed| run(seed, None).ok() == run(seed, None).ok());
    let mutants = Mutant::ALL.map(|mutant| {
        let first = (0..MUTANT_SEEDS).find_map(|seed| run(seed, Some(mutant)).err());
        match first.as_deref() {
            Some(Failure { seed, violation, .. }) => println!("{mutant:?} is caught by seed {seed}: {violation:.120}"),
            None => println!("{mutant:?} broke nothing in {MUTANT_SEEDS} seeds"),
        }
        first.is_some()
    });
    let facts = [was_eventful, is_repeatable].into_iter().chain(mutants);
    let (passed, failed): (Vec<_>, Vec<_>) = facts.partition(|fact| *fact);
    println!("eventful: {was_eventful}, repeatable: {is_repeatable}");
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("test result: {verdict}. {} passed; {} failed", passed.len() + 1, failed.len());
    failed.is_empty()
}

/// Lives the seeds until one fails; answers what happened in them all, if none did.
fn live(seeds: Seeds) -> Option<Summary> {
    let range = seeds.range();
    let next = AtomicU64::new(range.start);
    let has_failed = AtomicBool::new(false);
    let work = || {
        let mut sum = Summary::default();
        while !has_failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= range.end {
                break;
            }
            match run(seed, None) {
                Ok(summary) => sum = sum.plus(summary),
                Err(failure) => {
                    has_failed.store(true, Ordering::Relaxed);
                    println!("{failure}");
                }
            }
        }
        sum
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let sum = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let sums = workers.into_iter().map(|worker| worker.join().expect("a worker does not panic"));
        sums.fold(Summary::default(), Summary::plus)
    });
    if has_failed.into_inner() {
        return None;
    }
    println!("{} seeds from {} hold: {sum:?}", seeds.count, seeds.from);
    Some(sum)
}

/// Says which seeds catch a broken rule.
fn catch(seeds: Seeds, mutant: Mutant) -> bool {
    let failures: Vec<_> = seeds.range().filter_map(|seed| run(seed, Some(mutant)).err()).collect();
    let first: Vec<_> = failures.iter().map(|failure| failure.seed).take(12).collect();
    println!("{mutant:?}: {} of {} seeds red, the first {first:?}", failures.len(), seeds.count);
    if let Some(failure) = failures.first() {
        println!("    {}", failure.violation);
    }
    !failures.is_empty()
}
