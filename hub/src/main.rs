//! `tongluo-hub`: the hub's program.

use std::io::IsTerminal as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tongluo_hub::config::{Config, LogFormat};
use tongluo_hub::serve::Ending;
use tongluo_hub::{backup, init, serve};

/// The hub of one county: ledger, alarms, fleet and the pages.
#[derive(Parser)]
#[command(name = "tongluo-hub", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a county: its certificate authority, its root order key, its regions and a first administrator, whose
    /// password is printed once.
    Init {
        /// The configuration.
        #[arg(long)]
        config: PathBuf,
        /// Regions as CSV (`code,name,level,parent`); without it Suiping's.
        #[arg(long)]
        regions: Option<PathBuf>,
        /// The county's outline as GeoJSON (one Polygon or MultiPolygon, WGS 84); without it Suiping's, for Suiping.
        #[arg(long)]
        outline: Option<PathBuf>,
        /// Print what was made as one JSON object, for scripts.
        #[arg(long)]
        json: bool,
    },
    /// Serve the county until SIGTERM or Ctrl-C.
    Serve {
        /// The configuration.
        #[arg(long)]
        config: PathBuf,
    },
    /// Write a consistent copy of everything the hub knows, while it runs.
    Backup {
        /// The configuration.
        #[arg(long)]
        config: PathBuf,
        /// A folder that does not exist yet. It will hold the county's keys: keep it as safe as the hub.
        #[arg(long)]
        to: PathBuf,
    },
    /// Put a backup in the place of what the hub knows. If the hub is running, it makes room and serves again within this
    /// command; what it had is set aside, not deleted.
    Restore {
        /// The configuration.
        #[arg(long)]
        config: PathBuf,
        /// The backup's folder.
        #[arg(long)]
        from: PathBuf,
    },
    /// Print the interface's OpenAPI document.
    Openapi,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "the last word of a program that ends, whatever its log is set to")]
fn complain(error: &anyhow::Error) {
    eprintln!("tongluo-hub: {error:#}");
}

fn run(command: Command) -> anyhow::Result<()> {
    // Two providers are linked (the embedded broker brings its own); one must be chosen before the first handshake.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was set twice"))?;
    match command {
        Command::Openapi => print_line(&serve::openapi_json()),
        Command::Init { config, regions, outline, json } => {
            let config = Config::read(&config)?;
            let made = in_runtime(init::init(&config, regions.as_deref(), outline.as_deref()))?;
            print_line(&if json { made.json() } else { made.sentence() });
        }
        Command::Serve { config } => {
            let config = Config::read(&config)?;
            start_log(config.log_format);
            match in_runtime(serve::serve(config))? {
                Ending::Stop => {}
                Ending::Restart => return Err(begin_anew()),
            }
        }
        Command::Backup { config, to } => {
            let config = Config::read(&config)?;
            let done = in_runtime(backup::backup(&config, &to))?;
            print_line(&done.to_string());
        }
        Command::Restore { config, from } => {
            let config = Config::read(&config)?;
            let done = in_runtime(backup::restore(&config, &from))?;
            print_line(&done.to_string());
        }
    }
    Ok(())
}

/// Becomes a new run of the same program with the same arguments, in the same process: whoever supervises it sees nothing
/// end. Returns only if that fails.
fn begin_anew() -> anyhow::Error {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "tongluo-hub".into());
    // The running program, also when its file has been replaced meanwhile.
    let error = std::process::Command::new("/proc/self/exe").arg0(name).args(arguments).exec();
    anyhow::Error::new(error).context("the hub cannot begin anew to put a backup in place; start it again")
}

fn in_runtime<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(work)
}

#[expect(clippy::print_stdout, reason = "these commands answer on standard output")]
fn print_line(text: &str) {
    println!("{text}");
}

fn start_log(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("TONGLUO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,rmqtt=warn,sqlx=warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}
