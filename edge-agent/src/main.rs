//! `tongluo-edge`: the program on a village's gateway.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use tongluo_edge::clock::Clock;
use tongluo_edge::config::{Config, LogConfig, LogFormat};
use tongluo_edge::fleet::{Claim, enrol};
use tongluo_edge::gateway;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// One village of Tongluo: hears its buttons, keeps every press on disk, and tells the county.
#[derive(Parser)]
#[command(name = "tongluo-edge", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway until SIGTERM or SIGINT.
    Run(Configured),
    /// Enrols this gateway with its hub. Safe to repeat with the same code.
    Enroll(Enrolment),
    /// Reads the configuration, says whether it is in order, and ends.
    Check(Configured),
}

#[derive(Args)]
struct Configured {
    /// The configuration file.
    #[arg(long)]
    config: PathBuf,
}

#[derive(Args)]
struct Enrolment {
    #[command(flatten)]
    configured: Configured,
    /// The whole claim, as the hub shows it: tongluo:claim?url=…&code=…&ca=…
    #[arg(long, required_unless_present = "code")]
    claim: Option<String>,
    /// The eight-character code alone, if the configuration names the hub and its CA.
    #[arg(conflicts_with = "claim")]
    code: Option<String>,
}

fn main() -> ExitCode {
    let clock = Clock::start();
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Run(Configured { config }) => run(&config, clock),
        Command::Enroll(enrolment) => enroll(&enrolment, clock),
        Command::Check(Configured { config }) => check(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path, clock: Clock) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    start_log(&config.log);
    install_cryptography();
    gateway::run(&config, path, clock)
}

fn enroll(enrolment: &Enrolment, clock: Clock) -> anyhow::Result<()> {
    let config = Config::load(&enrolment.configured.config)?;
    start_log(&config.log);
    install_cryptography();
    let text = enrolment.claim.as_deref().or(enrolment.code.as_deref()).unwrap_or_default();
    let claim = Claim::parse(text, &config.hub)?;
    gateway::make_data_dir(&config.data_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let identity = runtime.block_on(enrol(&claim, &config.data_dir, clock))?;
    tracing::info!(
        site.id = identity.site_id,
        gateway.id = identity.gateway_id,
        hub.url = identity.hub_url,
        "this gateway is enrolled; a gateway that was enrolled before and is running needs a restart"
    );
    Ok(())
}

fn check(path: &Path) -> anyhow::Result<()> {
    let config = Config::load(path)?;
    start_log(&config.log);
    config.lan_credentials(path)?;
    tracing::info!(config.path = %path.display(), "the configuration is in order");
    Ok(())
}

/// Two libraries speak TLS; this names the one provider of cryptography for both.
fn install_cryptography() {
    // It fails only when one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn start_log(config: &LogConfig) {
    let level: LevelFilter = config.level.as_str().parse().expect("the configuration takes only levels that there are");
    // The client library tells of each failed attempt by itself, which the rooms do once. Filters by name need no regular
    // expressions, which would be a third of a megabyte.
    let filter = Targets::new().with_default(level).with_target("rumqttc", LevelFilter::OFF);
    let log = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let registry = tracing_subscriber::registry().with(filter);
    let result = match config.format {
        LogFormat::Text => registry.with(log.with_ansi(false)).try_init(),
        LogFormat::Json => registry.with(log.json()).try_init(),
    };
    result.expect("main starts the log once");
}

/// Says why the program ends; the log may not have been started.
fn complain(error: &anyhow::Error) {
    use std::io::Write as _;

    let _ = writeln!(std::io::stderr(), "tongluo-edge: {error:#}");
}
