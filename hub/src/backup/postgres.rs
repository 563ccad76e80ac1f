//! `PostgreSQL`'s own tools: what a backup and its way back ask of them.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};

use super::files;

/// Before what the archive makes: the tables of a newer hub are in the archive of an older one not, and would stay. The
/// database is the hub's own.
const CLEAR: &str = "\
do $$ declare old record; begin
  for old in select tablename from pg_tables where schemaname = current_schema() loop
    execute format('drop table if exists %I cascade', old.tablename);
  end loop;
end $$;
create temporary table tongluo_schema as select current_schema()::text as name;
";
/// After it. The archive's script has emptied the search path.
const AFTER: &str = "select set_config('search_path', (select name from pg_temp.tongluo_schema), false);\n";

/// Writes the database into an archive.
pub(super) async fn dump(address: &str, archive: &Path) -> anyhow::Result<()> {
    run("pg_dump", &["--format=custom".as_ref(), "--file".as_ref(), archive.as_os_str()], address).await?;
    files::sync(archive)
}

/// Writes an archive as a script that puts it in the place of what the database holds, and ends with `last`. That reads the
/// archive through.
pub(super) async fn script(address: &str, archive: &Path, script: &Path, last: &str) -> anyhow::Result<()> {
    let converted = script.with_extension("archive");
    let options = ["--clean".as_ref(), "--if-exists".as_ref(), "--file".as_ref(), converted.as_os_str()];
    run("pg_restore", &[&options[..], &[archive.as_os_str()]].concat(), address).await?;
    let mut file = std::fs::File::create_new(script).with_context(|| format!("cannot write {}", script.display()))?;
    file.write_all(CLEAR.as_bytes())?;
    std::io::copy(&mut std::fs::File::open(&converted)?, &mut file)?;
    file.write_all(AFTER.as_bytes())?;
    file.write_all(last.as_bytes())?;
    file.sync_all()?;
    std::fs::remove_file(&converted).with_context(|| format!("cannot remove {}", converted.display()))
}

/// Runs a script: all of it takes effect, or nothing.
pub(super) async fn run_script(address: &str, script: &Path) -> anyhow::Result<()> {
    let options = ["--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--output=/dev/null"];
    let mut arguments: Vec<&OsStr> = options.iter().map(AsRef::as_ref).collect();
    arguments.extend(["--file".as_ref(), script.as_os_str()]);
    run("psql", &arguments, address).await
}

/// Runs one of the tools. The address may hold a password, so it goes by the environment, not the command line.
async fn run(program: &str, arguments: &[&OsStr], address: &str) -> anyhow::Result<()> {
    let output = tokio::process::Command::new(program)
        .envs(connection_environment(address)?)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {program}; install PostgreSQL's client tools"))?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// libpq's environment of a `postgres://` address.
fn connection_environment(address: &str) -> anyhow::Result<Vec<(&'static str, String)>> {
    let options: sqlx::postgres::PgConnectOptions = address.parse().context("the database address cannot be read")?;
    let mut environment = vec![
        ("PGHOST", options.get_host().to_owned()),
        ("PGPORT", options.get_port().to_string()),
        ("PGUSER", options.get_username().to_owned()),
        ("PGDATABASE", options.get_database().unwrap_or(options.get_username()).to_owned()),
    ];
    let password =
        address.split_once("://").and_then(|(_, rest)| rest.split_once('@')).and_then(|(user, _)| user.split_once(':'));
    environment.extend(password.map(|(_, password)| ("PGPASSWORD", password.to_owned())));
    Ok(environment)
}
