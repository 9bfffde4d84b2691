//! The words of the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::config::Flags;
use crate::digest::Digest;

const AFTER_HELP: &str = "\
`transship CONFIG` is the same as `transship serve CONFIG`.

Without CONFIG the file that $REGISTRY_CONFIGURATION_PATH names is read, else none:
then transship listens on :5000, mirrors Docker Hub and stores under $STATE_DIRECTORY,
/var/lib/transship (as root) or $XDG_CACHE_HOME/transship.

Any key of the file can be set by the environment: REGISTRY_HTTP_ADDR=:443 is http.addr.
Flags override the environment, the environment overrides the file.";

/// Bounds on the time between two frames of `top`.
const TOP_EVERY_MIN: Duration = Duration::from_millis(100);
const TOP_EVERY_MAX: Duration = Duration::from_secs(3600);

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
    Check(Check),
    /// Stand before a registry: log users in, and send each to the cache that is near them for what they pull.
    Gateway(Gateway),
    /// Read and hash all that is stored, or the digests that are named, and take away what is damaged.
    ///
    /// Exits with 0 if all is well, with 1 if anything was damaged, could not be read or is not stored.
    /// Works beside a server on the same directory.
    Verify(Verify),
    /// Take over what a Docker registry, or another transship, has stored: by hard link where the file
    /// system allows, else by clone or copy.
    ///
    /// Run it again after it was broken off: what is here already is passed over. Exits with 0 if all of
    /// it is here, with 1 if anything was damaged or could not be read.
    Import(Import),
    /// Say which settings of this host matter, what they are here, and what they should be. Changes nothing.
    ///
    /// Exits with 0 if nothing is lacking, with 1 if something is.
    Tune(Tune),
    /// Say how a running server is.
    Status(Remote),
    /// Watch a running server: throughput, hits, fills, upstreams, store, recent warnings. `q` ends it.
    ///
    /// Where standard output is no terminal, the frames are printed one after the other.
    Top(Top),
    /// List what a running server has stored.
    Ls(List),
    /// Say all that a running server knows of digests: where they are, since when, from where, for how long.
    Show(Show),
    /// Take blobs and manifests out of the store of a running server. Responses that are sending them go on.
    Purge(Purge),
    /// Have a running server fetch images before anybody asks for them.
    ///
    /// What is here is passed over, and clients come first. Exits with 0 if every image is here, with 1 if one is
    /// not. Ctrl-C breaks it off; asked again, it goes on where it was.
    Warm(Warm),
    /// Have a running server take no new connections, finish what is in flight, and end.
    Drain(Remote),
    /// Have the program that is installed now take over from a running server, its connections and all: no client
    /// notices. What SIGUSR2 does.
    Upgrade(Remote),
    /// Have a running server read its configuration again and apply what can be applied, as SIGHUP does.
    ///
    /// Exits with 1 if the configuration does not hold: then nothing has changed.
    Reload(Remote),
    /// Show the log level of a running server, or change it until the next reload.
    LogLevel(Level),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page.
    Man,
    /// Never evict these images and blobs.
    ///
    /// A running server notices within seconds. Nothing is fetched: what is here, or comes, is kept.
    Pin(Pin),
    /// Let these go when their room is needed.
    Unpin(Pin),
    /// List what is pinned.
    Pins(Pins),
}

/// Which server is meant, and how its answers are shown.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Remote {
    /// Admin address of the server: http://HOST:PORT or the path of its Unix socket. Without it:
    /// $TRANSSHIP_ADMIN, else /run/transship/admin.sock, else http://127.0.0.1:5001. A token is taken from
    /// $TRANSSHIP_ADMIN_TOKEN.
    #[arg(long, value_name = "URL|PATH")]
    pub(super) admin: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What may be said for `top`.
#[derive(Args, Clone, Debug)]
pub(super) struct Top {
    /// Seconds between two frames.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(super) interval: Duration,
    /// End after this many frames; 0 is never.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) count: u64,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What may be said for `log-level`.
#[derive(Args, Clone, Debug)]
pub(super) struct Level {
    /// Least severe level that is to be logged.
    #[arg(value_parser = ["error", "warn", "info", "debug", "trace"])]
    pub(super) level: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok();
    let interval = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    interval
        .filter(|interval| (TOP_EVERY_MIN..=TOP_EVERY_MAX).contains(interval))
        .ok_or_else(|| "want 0.1 to 3600 seconds".to_owned())
}

/// What may be said for `ls`.
#[derive(Args, Clone, Debug)]
pub(super) struct List {
    /// How the digest begins, with or without its algorithm.
    #[arg(value_name = "PREFIX")]
    pub(super) prefix: Option<String>,
    /// Only what this repository is known to have.
    #[arg(long, value_name = "NAME")]
    pub(super) repository: Option<String>,
    /// Largest, last used or most used first.
    #[arg(long, value_parser = ["digest", "size", "used", "hits"], default_value = "digest")]
    pub(super) sort: String,
    /// Most rows; 0 is all of them.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) limit: usize,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What may be said for `show`.
#[derive(Args, Clone, Debug)]
pub(super) struct Show {
    /// sha256:HEX
    #[arg(value_name = "DIGEST", required = true)]
    pub(super) digests: Vec<Digest>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What may be said for `purge`.
#[derive(Args, Clone, Debug)]
pub(super) struct Purge {
    /// sha256:HEX
    #[arg(value_name = "DIGEST", required = true)]
    pub(super) digests: Vec<Digest>,
    /// Also those that are pinned.
    #[arg(long)]
    pub(super) force: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What may be said for `warm`.
#[derive(Args, Clone, Debug)]
pub(super) struct Warm {
    /// NAME, NAME:TAG or NAME@sha256:HEX; names as clients say them, without a host.
    #[arg(value_name = "IMAGE")]
    pub(super) images: Vec<String>,
    /// File with an image a line; # begins a comment, - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// Only this platform, as linux/amd64 or linux/arm64/v8; may be given several times. All of them without.
    #[arg(long = "platform", value_name = "PLATFORM")]
    pub(super) platforms: Vec<crate::warm::Platform>,
    /// Log in to the upstream as this user, for images that the cache itself may not pull.
    #[arg(long, value_name = "USER", requires = "password_stdin")]
    pub(super) username: Option<String>,
    /// The password is the first line of standard input.
    #[arg(long, requires = "username")]
    pub(super) password_stdin: bool,
    /// Pin the images too, so that they stay.
    #[arg(long)]
    pub(super) pin: bool,
    /// How long an image is tried while nothing of it comes; 0 tries once.
    #[arg(long, value_name = "SECONDS")]
    pub(super) patience: Option<u64>,
    /// Do not wait for the end.
    #[arg(long)]
    pub(super) detach: bool,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What may be said for `pins`.
#[derive(Args, Clone, Debug)]
pub(super) struct Pins {
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What may be said for `pin` and `unpin`.
#[derive(Args, Clone, Debug)]
pub(super) struct Pin {
    /// NAME:TAG, NAME@sha256:HEX or sha256:HEX; names as clients say them, without a host.
    #[arg(value_name = "REFERENCE", required = true)]
    pub(super) references: Vec<String>,
    #[command(flatten)]
    pub(super) place: Place,
    #[command(flatten)]
    pub(super) remote: Remote,
}

/// What may be said for `check`.
#[derive(Args, Clone, Debug)]
pub(super) struct Check {
    #[command(flatten)]
    pub(super) options: Options,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// What may be said for `verify`.
#[derive(Args, Clone, Debug)]
pub(super) struct Verify {
    /// What to check, as sha256:HEX; everything if none is given.
    #[arg(value_name = "DIGEST")]
    pub(super) digests: Vec<Digest>,
    /// Tell of damaged files and leave them where they are.
    #[arg(long)]
    pub(super) keep: bool,
    /// Print JSON: one object, when it is done.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Place,
}

/// What may be said for `import`.
#[derive(Args, Clone, Debug)]
pub(super) struct Import {
    /// The registry's root directory, anything on the way down to its blobs, or a directory of ours.
    #[arg(value_name = "DIR")]
    pub(super) from: PathBuf,
    /// Copy every file, even where it could be linked.
    #[arg(long)]
    pub(super) copy: bool,
    /// Print JSON: one object, when it is done.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Place,
}

/// What may be said for `tune`.
#[derive(Args, Clone, Debug)]
pub(super) struct Tune {
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) place: Place,
}

/// Which store is meant, where the command's own words are about something else.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Place {
    /// Configuration file that says where blobs are stored, as for `serve`.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory that blobs are stored under.
    #[arg(long, value_name = "DIR")]
    storage: Option<String>,
}

impl Place {
    /// Says whether a store was named.
    pub(super) const fn is_given(&self) -> bool {
        self.config.is_some() || self.storage.is_some()
    }

    /// Returns the same as `serve` would be told.
    pub(super) fn into_options(self) -> Options {
        Options {
            config: self.config,
            storage: self.storage,
            ..Options::default()
        }
    }
}

/// What may be said for `serve` and `check`. Values are checked along with those of the file.
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
    #[arg(skip)]
    backend: Option<String>,
    #[arg(skip)]
    state: Option<String>,
}

/// What may be said for `gateway`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Gateway {
    /// Configuration file, see docs/gateway.md.
    config: Option<PathBuf>,
    /// The registry behind it, as https://HOST[:PORT].
    #[arg(long, value_name = "URL")]
    backend: Option<String>,
    /// Where clients connect: :PORT, IPv4:PORT, [IPv6]:PORT or localhost:PORT.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Directory of keys and database; made if it is missing.
    #[arg(long, value_name = "DIR")]
    state: Option<String>,
    /// Print the effective configuration, with what is wrong or odd, and end: with 1 if it does not hold.
    #[arg(long)]
    pub(super) check: bool,
}

impl Gateway {
    /// Returns the same as `serve` would be told.
    pub(super) fn into_options(self) -> Options {
        Options {
            config: self.config,
            listen: self.listen,
            backend: self.backend,
            state: self.state,
            ..Options::default()
        }
    }
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
            backend: self.backend,
            state: self.state,
        }
    }
}

/// Says whether a word is a command, rather than the path of a configuration.
fn is_command(word: &str) -> bool {
    word == "help" || Arguments::command().find_subcommand(word).is_some()
}

/// Returns `args` with `serve` put before a first argument that is neither a command nor a flag: the
/// documented container command line gives just the path of the configuration.
pub(super) fn with_command(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let is_path = args.get(1).is_some_and(|first| {
        let first = first.to_string_lossy();
        !first.starts_with('-') && !is_command(&first)
    });
    if is_path {
        args.insert(1, OsString::from("serve"));
    }
    args
}

#[cfg(test)]
mod tests {
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
            Command::Check(Check { options: Options { config: Some(path), .. }, .. }) if path == *"serve"
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
                ..Flags::default()
            }
        );
    }

    #[test]
    fn the_store_is_found_as_serve_finds_it() {
        let hex = "a".repeat(64);
        let digest = format!("sha256:{hex}");
        let line = [
            "verify",
            "--config",
            "/c",
            &digest,
            "--storage",
            "/s",
            "--keep",
            &digest,
        ];
        let Command::Verify(verify) = parse(&line).unwrap().command else {
            panic!("verifies");
        };
        assert!(verify.keep && verify.digests == [digest.parse().unwrap(); 2]);
        let options = verify.place.into_options();
        assert_eq!(options.config, Some(PathBuf::from("/c")));
        assert_eq!(options.into_flags().storage.as_deref(), Some("/s"));
        let Command::Import(import) = parse(&["import", "/old", "--copy"]).unwrap().command else {
            panic!("imports");
        };
        assert!(import.copy && import.from == *"/old");
    }

    #[test]
    fn a_command_line_without_sense_is_refused() {
        for line in [
            &["serve", "--no-such"][..],
            &["--no-such"],
            &["a", "b"],
            &["serve", "--cores"],
            &["top", "--interval", "0"],
            &["top", "--interval", "inf"],
            &["verify", "sha256:0"],
            &["verify", "--copy"],
            &["import"],
            &["import", "/a", "/b"],
            &[],
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
        assert_eq!(parse(&["--help"]).unwrap_err().exit_code(), 0);
        assert_eq!(parse(&["--version"]).unwrap_err().exit_code(), 0);
    }
}
