//! The command line: what the process was told, gathered into [`config::Sources`] and handed on.
//!
//! `transship serve [CONFIG]`, `transship check [CONFIG]`, and `transship CONFIG`, which is what the
//! content cache's container was started with and means `serve CONFIG`. `transship verify [DIGEST…]` and
//! `transship import DIR` go over what is stored; `pin`, `unpin` and `pins` say what is never evicted.
//! `tune` looks at the host. `status`, `top`, `ls`, `show`, `purge`, `drain`, `reload`, `log-level` and
//! `upgrade` ask a running server, see `ask`; so does `warm`, which has it fetch images.
//!
//! This is the only module that looks at the process's arguments, environment and user. Exit codes: 0 is
//! well, 1 is a configuration that does not hold, a server that could not serve or refused, or a store that is
//! not well, 2 is a command line that makes no sense, 3 is no server that answers, 4 is something that is not
//! there.

mod args;
mod ask;
mod assembly;
mod check;
mod fit;
mod gateway;
mod handover;
mod helm;
mod housekeeping;
mod import;
mod levels;
pub mod log;
mod pin;
mod progress;
mod recent;
mod reload;
mod remote;
mod serve;
mod sockets;
mod table;
mod told;
mod top;
mod tune;
mod upgrade;
mod verify;
mod warm;
mod watchdog;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::config::{self, Effective, Sources};
use crate::limits::CONFIG_BYTES_MAX;
use args::{Arguments, Command};
use pin::Change;

/// Runs the program with `args`, the first of which is its own name.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(args::with_command(args)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to standard output with 0, anything else to standard error with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    if let Some(launched) = handover::launch() {
        return match launched {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("transship: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match run_command(arguments.command) {
        Ok(code) => code,
        Err(lines) => {
            let mut stderr = io::stderr().lock();
            for line in &lines {
                let _ = writeln!(stderr, "transship: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs one command.
///
/// # Errors
///
/// What keeps it from starting, in lines.
fn run_command(command: Command) -> Result<ExitCode, Vec<String>> {
    let told = |options| sources(options, environment()).map_err(|error| vec![error]);
    match command {
        Command::Serve(options) => {
            let recipe = reload::Recipe::new(options, environment());
            let sources = recipe.sources().map_err(|error| vec![error])?;
            let effective = effective(&sources).map_err(|failure| lines(&failure))?;
            Ok(serve::serve(effective, recipe))
        }
        Command::Check(check) => {
            let out = &mut io::stdout().lock();
            Ok(check::run(&told(check.options)?, check.json, out))
        }
        Command::Gateway(options) => {
            let is_check = options.check;
            gateway::run(&told(options.into_options())?, is_check)
        }
        Command::Verify(options) => {
            let root = root(&told(options.place.clone().into_options())?)?;
            Ok(verify::run(&root, &options))
        }
        Command::Import(options) => {
            let root = root(&told(options.place.clone().into_options())?)?;
            Ok(import::run(&root, &options))
        }
        Command::Tune(options) => {
            let root = root(&told(options.place.clone().into_options())?)?;
            Ok(tune::run(&options, root, &mut io::stdout().lock()))
        }
        Command::Pin(options) => change_pins(options, Change::Pin, told),
        Command::Unpin(options) => change_pins(options, Change::Unpin, told),
        Command::Pins(options) => list_pins(options, told),
        Command::Completions { shell } => {
            let command = &mut Arguments::command();
            clap_complete::generate(shell, command, "transship", &mut io::stdout().lock());
            Ok(ExitCode::SUCCESS)
        }
        Command::Man => {
            let page = clap_mangen::Man::new(Arguments::command());
            let written = page.render(&mut io::stdout().lock());
            written.map_err(|error| vec![error.to_string()])?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Status(remote) => Ok(ask::run(&remote, |server, out| ask::status(server, out))),
        Command::Top(top) => Ok(ask::run(&top.remote, |server, out| {
            top::run(server, &top, out)
        })),
        Command::Ls(list) => Ok(ask::run(&list.remote, |server, out| {
            ask::list(server, &list, out)
        })),
        Command::Show(show) => Ok(ask::run(&show.remote, |server, out| {
            ask::show(server, &show.digests, out)
        })),
        Command::Purge(purge) => Ok(ask::run(&purge.remote, |server, out| {
            ask::purge(server, &purge, out)
        })),
        Command::Warm(warm) => Ok(ask::run(&warm.remote, |server, out| {
            warm::warm(server, &warm, out)
        })),
        Command::Drain(remote) => Ok(ask::run(&remote, |server, out| {
            ask::post(server, "drain", out)
        })),
        Command::Upgrade(remote) => Ok(ask::run(&remote, |server, out| {
            ask::post(server, "upgrade", out)
        })),
        Command::Reload(remote) => Ok(ask::run(&remote, |server, out| ask::reload(server, out))),
        Command::LogLevel(level) => Ok(ask::run(&level.remote, |server, out| {
            ask::log_level(server, level.level.as_deref(), out)
        })),
    }
}

fn list_pins(
    options: args::Pins,
    told: impl FnOnce(args::Options) -> Result<Sources, Vec<String>>,
) -> Result<ExitCode, Vec<String>> {
    if ask::is_meant(&options.place, &options.remote) {
        return Ok(ask::run(&options.remote, |server, out| {
            ask::pins(server, out)
        }));
    }
    let root = root(&told(options.place.into_options())?)?;
    let out = &mut io::stdout().lock();
    Ok(pin::list(&root, options.remote.json, out))
}

fn change_pins(
    options: args::Pin,
    change: Change,
    told: impl FnOnce(args::Options) -> Result<Sources, Vec<String>>,
) -> Result<ExitCode, Vec<String>> {
    if ask::is_meant(&options.place, &options.remote) {
        let done = |server: &remote::Server, out: &mut dyn io::Write| {
            ask::change_pins(server, change, &options.references, out)
        };
        return Ok(ask::run(&options.remote, done));
    }
    let root = root(&told(options.place.into_options())?)?;
    let out = &mut io::stdout().lock();
    let is_json = options.remote.json;
    Ok(pin::change(
        &root,
        change,
        &options.references,
        is_json,
        out,
    ))
}

fn lines(failure: &config::Failure) -> Vec<String> {
    let problems = failure.problems.iter();
    problems
        .map(|problem| format!("error: {problem}"))
        .collect()
}

/// Returns the root directory of the store that a server with these sources would serve. The files that it
/// would need besides are not looked at.
fn root(sources: &Sources) -> Result<PathBuf, Vec<String>> {
    let effective = config::load(sources).map_err(|failure| lines(&failure))?;
    Ok(effective.settings.store.root)
}

/// Returns what `sources` mean on this machine at this time.
///
/// # Errors
///
/// All that is wrong with the configuration, or with the files that it names.
fn effective(sources: &Sources) -> Result<Effective, config::Failure> {
    let mut effective = config::load(sources)?;
    effective.lint(std::time::SystemTime::now())?;
    Ok(effective)
}

/// Returns the environment. What is not UTF-8 gets replacement characters: no key takes such a value.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            (name, value.to_string_lossy().into_owned())
        })
        .collect()
}

/// Returns all that the configuration is made from; the file is the one of the command line, else the one
/// that the environment names, else none.
///
/// # Errors
///
/// One line for the operator when the file cannot be read.
fn sources(options: args::Options, env: BTreeMap<String, String>) -> Result<Sources, String> {
    let named = env
        .get(config::PATH_VARIABLE)
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let file = match options.config.clone().or(named) {
        Some(path) => {
            let text = read(&path)?;
            Some((path, text))
        }
        None => None,
    };
    Ok(Sources {
        file,
        env,
        flags: options.into_flags(),
        is_root: rustix::process::geteuid().is_root(),
    })
}

/// Returns the text of a configuration file. One that is too long is cut just above the bound, which the
/// parser then refuses.
fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            let bound = u64::try_from(CONFIG_BYTES_MAX).unwrap_or(u64::MAX);
            file.take(bound.saturating_add(1)).read_to_end(&mut bytes)
        })
        .map_err(|error| {
            format!(
                "{shown}: {error} (want a configuration file, or a command: see transship --help)"
            )
        })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("{shown}: not a text file: byte {at} is not UTF-8")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> args::Options {
        let arguments = ["transship"].iter().chain(arguments).map(OsString::from);
        match Arguments::try_parse_from(args::with_command(arguments))
            .unwrap()
            .command
        {
            Command::Serve(options) => options,
            Command::Check(check) => check.options,
            other => panic!("{other:?} has no such options"),
        }
    }

    #[test]
    fn the_environment_names_the_file_when_the_command_line_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1.yml"), folder.path().join("2.yml"));
        std::fs::write(&one, "one").unwrap();
        std::fs::write(&two, "two").unwrap();
        let env = BTreeMap::from([(config::PATH_VARIABLE.to_owned(), two.display().to_string())]);
        let from_env = sources(options(&["serve"]), env.clone()).unwrap();
        assert_eq!(from_env.file.unwrap().1, "two");
        let from_line = sources(options(&[&one.display().to_string()]), env).unwrap();
        assert_eq!(from_line.file.unwrap().1, "one");
        assert!(
            sources(options(&["serve"]), BTreeMap::new())
                .unwrap()
                .file
                .is_none()
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let binary = folder.path().join("binary");
        std::fs::write(&binary, b"version: \xff").unwrap();
        for (path, told) in [
            (folder.path().join("none"), "No such file"),
            (folder.path().to_owned(), "Is a directory"),
            (binary, "byte 9 is not UTF-8"),
        ] {
            let said = read(&path).unwrap_err();
            assert!(said.contains(told) && !said.contains('\n'), "{said}");
        }
        assert!(
            read(Path::new("/dev/zero")).is_ok(),
            "endless files are cut"
        );
    }
}
