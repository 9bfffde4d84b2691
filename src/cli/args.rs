//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::Flags;

const AFTER_HELP: &str = "\
`transship CONFIG` is the same as `transship serve CONFIG`.

Without CONFIG the file that $REGISTRY_CONFIGURATION_PATH names is read, else none:
then transship listens on :5000, mirrors Docker Hub and stores under $STATE_DIRECTORY,
/var/lib/transship (as root) or $XDG_CACHE_HOME/transship.

Any key of the file can be set by the environment: REGISTRY_HTTP_ADDR=:443 is http.addr.
Flags override the environment, the environment overrides the file.";

/// A cache for container images: fetches each blob once, serves it to everyone.
#[derive(Debug, Parser)]
#[command(name = "transship", version, after_help = AFTER_HELP, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve container images.
    #[command(after_help = AFTER_HELP)]
    Serve(Options),
    /// Print the effective configuration with the origin of each value, and what is wrong or odd.
    ///
    /// Exits with 0 if transship would start with this configuration, with 1 if not. Nothing is made
    /// or changed.
    Check(Options),
}

/// What may be said for both commands. Values are checked along with those of the file.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Options {
    /// Configuration file: the Docker registry's, see docs/configuration.md.
    pub(super) config: Option<PathBuf>,
    /// Registry or cache to fetch from, as https://HOST[:PORT]; several are asked in turn. Replaces the
    /// upstreams of the file.
    #[arg(long, value_name = "URL")]
    upstream: Vec<String>,
    /// Where clients connect: :PORT, IPv4:PORT, [IPv6]:PORT or localhost:PORT.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Directory to store blobs under; made if it is missing.
    #[arg(long, value_name = "DIR")]
    storage: Option<String>,
    /// Where metrics and health are served, or "off".
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// Cores that serve, one thread each.
    #[arg(long, value_name = "N")]
    cores: Option<String>,
}

impl Options {
    /// Returns the flags as the configuration takes them.
    pub(super) fn into_flags(self) -> Flags {
        Flags {
            upstreams: self.upstream,
            listen: self.listen,
            storage: self.storage,
            admin: self.admin,
            cores: self.cores,
        }
    }
}

/// Returns `args` with `serve` put before a first argument that is neither a command nor a flag: the
/// documented container command line gives just the path of the configuration.
pub(super) fn with_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let is_path = args.get(1).is_some_and(|first| {
        let first = first.to_string_lossy();
        !first.starts_with('-') && !["serve", "check", "help"].contains(&first.as_ref())
    });
    if is_path {
        args.insert(1, OsString::from("serve"));
    }
    args
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        let arguments = ["transship"].iter().chain(arguments).map(OsString::from);
        Arguments::try_parse_from(with_command(arguments))
    }

    #[test]
    fn the_grammar_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_lone_path_serves_as_the_documented_container_does() {
        for line in [
            &["/config.yml"][..],
            &["serve", "/config.yml"],
            &["/config.yml", "--listen", ":1"],
        ] {
            let Command::Serve(options) = parse(line).unwrap().command else {
                panic!("{line:?} serves");
            };
            assert_eq!(options.config, Some(PathBuf::from("/config.yml")));
        }
        assert!(matches!(
            parse(&["check", "serve"]).unwrap().command,
            Command::Check(Options { config: Some(path), .. }) if path == *"serve"
        ));
    }

    #[test]
    fn every_flag_reaches_the_configuration() {
        let line = [
            "serve",
            "--upstream",
            "https://a",
            "--upstream",
            "https://b",
            "--listen",
            ":1",
            "--storage",
            "/s",
            "--admin",
            "off",
            "--cores",
            "2",
        ];
        let Command::Serve(options) = parse(&line).unwrap().command else {
            panic!("serves");
        };
        assert_eq!(options.config, None);
        assert_eq!(
            options.into_flags(),
            Flags {
                upstreams: vec!["https://a".into(), "https://b".into()],
                listen: Some(":1".into()),
                storage: Some("/s".into()),
                admin: Some("off".into()),
                cores: Some("2".into()),
            }
        );
    }

    #[test]
    fn a_command_line_without_sense_is_refused() {
        for line in [
            &["serve", "--no-such"][..],
            &["--no-such"],
            &["a", "b"],
            &["serve", "--cores"],
            &[],
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
        assert_eq!(parse(&["--help"]).unwrap_err().exit_code(), 0);
        assert_eq!(parse(&["--version"]).unwrap_err().exit_code(), 0);
    }
}
