//! `with-postgres COMMAND…`: runs a command beside a private PostgreSQL server, named to it in `TONGLUO_TEST_POSTGRES`.
//! The server and its data are gone when the command has ended.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use tongluo_tests::postgres::{ADDRESS_VARIABLE, Postgres};
use tongluo_tests::scene::Folder;

fn main() -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = Folder::new("postgres")?;
    let server = runtime.block_on(Postgres::start(&folder))?;
    let mut words = std::env::args_os().skip(1);
    let program = words.next().context("usage: with-postgres COMMAND…")?;
    let status = Command::new(&program)
        .args(words)
        .env(ADDRESS_VARIABLE, server.address())
        .status()
        .with_context(|| format!("cannot start {}", program.display()))?;
    runtime.block_on(server.stop())?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
