//! A PostgreSQL server of our own: Debian's programs, a private folder, a private port, nobody else's data.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::child::{self, Child};
use crate::scene::Folder;
use crate::{ports, wait};

/// Where Debian 12 installs the server.
const PROGRAMS: &str = "/usr/lib/postgresql/15/bin";

/// Where a server that is already up may be found: `./run test` starts one for all tests.
pub const ADDRESS_VARIABLE: &str = "TONGLUO_TEST_POSTGRES";

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct Postgres {
    process: Child,
    port: u16,
}

impl Postgres {
    /// Makes and starts a server with its data inside `folder`. The server refuses to run as root; then it runs as the user
    /// `postgres` that Debian's package made.
    ///
    /// # Errors
    /// The package is missing, or the server does not come up.
    pub async fn start(folder: &Folder) -> Result<Self> {
        let data = folder.inside("postgres")?;
        let port = ports::free()?;
        if is_root()? {
            child::output("chown", Command::new("chown").arg("postgres:postgres").arg(&data))?;
        }
        let initdb = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"];
        child::output("initdb", server_command("initdb")?.arg("--pgdata").arg(&data).args(initdb))?;
        let mut command = server_command("postgres")?;
        command.arg("-D").arg(&data).args(["-p", &port.to_string()]);
        command.args([
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            "unix_socket_directories=",
            "-c",
            "max_connections=200",
        ]);
        let log = folder.path().join("postgres.log");
        let mut server = Self { process: Child::spawn("postgres", &log, command)?, port };
        wait::until("PostgreSQL to answer", async || {
            server.process.check()?;
            let isready = Path::new(PROGRAMS).join("pg_isready");
            let status = Command::new(isready).args(["--quiet", "--host=127.0.0.1", &port_option(port)]).status()?;
            Ok(status.success().then_some(()))
        })
        .await?;
        Ok(server)
    }

    /// Its address, without a database.
    pub fn address(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Ends it in good order.
    ///
    /// # Errors
    /// It had to be killed.
    pub async fn stop(mut self) -> Result<()> {
        // Its word for "now, politely" is SIGINT.
        child::signal(self.process.pid(), "INT")?;
        wait::until("PostgreSQL to end", async || self.process.ended()).await?;
        Ok(())
    }
}

/// An empty database for one test, on the server of `./run test` or on one of its own.
#[derive(Debug)]
pub struct Database {
    address: String,
    /// Kept running while the database is used.
    _server: Option<Postgres>,
}

impl Database {
    /// Makes the database; its name is made of `folder`'s.
    ///
    /// # Errors
    /// No server, or it refuses.
    pub async fn new(folder: &Folder) -> Result<Self> {
        let server = match std::env::var(ADDRESS_VARIABLE) {
            Ok(_) => None,
            Err(_) => Some(Postgres::start(folder).await?),
        };
        let base = match &server {
            Some(server) => server.address(),
            None => std::env::var(ADDRESS_VARIABLE)?,
        };
        let name = folder.path().file_name().and_then(|name| name.to_str()).context("a folder with a name")?;
        let name = name.replace('-', "_");
        let maintenance = format!("--maintenance-db={base}/postgres");
        child::output("createdb", Command::new(Path::new(PROGRAMS).join("createdb")).args([&maintenance, &name]))?;
        Ok(Self { address: format!("{base}/{name}"), _server: server })
    }

    /// `postgres://…/name`.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn port_option(port: u16) -> String {
    format!("--port={port}")
}

/// A server program, leashed, and not as root.
fn server_command(name: &str) -> Result<Command> {
    let path = Path::new(PROGRAMS).join(name);
    if !path.is_file() {
        anyhow::bail!("{} is missing; `./run setup` installs Debian's postgresql-15", path.display());
    }
    if !is_root()? {
        return Ok(child::leashed(path));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "--pdeathsig", "QUIT", "--"]).arg(path);
    // The caller's folder may be one that this user cannot enter.
    command.current_dir("/");
    Ok(command)
}

pub(crate) fn is_root() -> Result<bool> {
    Ok(child::output("id", Command::new("id").arg("-u"))?.trim() == "0")
}
