//! The operator's configuration: the Docker registry's file, `REGISTRY_…` variables and command-line flags,
//! made into each module's Options.
//!
//! ```text
//!  file ──▶ tree ◀── environment ◀── flags       later ones replace earlier ones
//!             │
//!             ├─▶ walk      keys: unknown, ignored, refused      ╮
//!             ├─▶ readers   values: typed, with their defaults   ├─ all by one table, `keys`
//!             ╰─▶ docs      docs/configuration.md                ╯
//!             ▼
//!          Effective ──▶ lint     files, root directory, own addresses
//! ```
//!
//! Nothing here looks at the process: the file's text, the environment and the flags are values in
//! [`Sources`]. Only [`Effective::lint`] touches the file system, and it changes nothing there.
//!
//! Invariants
//! - Every independent error is reported at once; none holds a secret's value.
//! - Nothing that would change the meaning of a registry's file is skipped in silence.

mod access;
mod access_log;
mod build;
mod changes;
mod docs;
mod duration;
mod env;
mod gateway;
mod headers;
mod health;
mod keys;
mod lint;
mod logins;
mod read;
mod report;
mod store_room;
mod tls;
mod tree;
mod upstreams;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

pub use changes::Running;
pub use docs::markdown;
pub use keys::{Applies, Key, Kind, TABLE, Treatment};
pub use read::Value;
pub use report::{Origin, Remark};

use env::Step;
use read::{Reader, Spot};
use report::Report;
use tree::{Node, Source};

use crate::{admin, fill, server, store, upstream};

/// The variable that names the configuration file when the command line does not.
pub const PATH_VARIABLE: &str = env::PATH_VARIABLE;

/// All that a configuration is made from. Not `Debug`: it holds every secret there is.
#[derive(Clone, Default)]
pub struct Sources {
    /// The configuration file's path and text, if there is one.
    pub file: Option<(PathBuf, String)>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// What the command line says.
    pub flags: Flags,
    /// Whether the process runs as root, which decides where blobs go when nobody says.
    pub is_root: bool,
}

/// What the command line says, unchecked. It overrides the environment, which overrides the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--upstream`, each; any replaces all upstreams of the file.
    pub upstreams: Vec<String>,
    /// `--listen`: `http.addr`.
    pub listen: Option<String>,
    /// `--storage`: `storage.filesystem.rootdirectory`.
    pub storage: Option<String>,
    /// `--admin`: `http.debug.addr`.
    pub admin: Option<String>,
    /// `--cores`: `transship.cores`.
    pub cores: Option<String>,
    /// `--backend`: `gateway.backend`.
    pub backend: Option<String>,
    /// `--state`: `gateway.state`.
    pub state: Option<String>,
}

/// Every module's Options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The address that clients talk to.
    pub server: server::Options,
    /// The admin address.
    pub admin: admin::Options,
    /// Who may pull.
    pub access: crate::access::Options,
    /// Where blobs live.
    pub store: store::Options,
    /// The next hops.
    pub upstream: upstream::Options,
    /// How blobs are fetched.
    pub fill: fill::Options,
    /// The log.
    pub log: LogOptions,
    /// The access log; `None` is none.
    pub access_log: Option<crate::access_log::Options>,
    /// What else must be well.
    pub health: crate::health::Options,
    /// Cores that serve; `None` is all that the process may run on.
    pub cores: Option<usize>,
}

/// What is logged, and how (`log`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Least severe message that is logged.
    pub level: LogLevel,
    /// Form of a line.
    pub formatter: LogFormatter,
    /// Fields added to every line.
    pub fields: BTreeMap<String, String>,
}

/// Severity of a log line, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Needs a human.
    Error,
    /// May need one later.
    Warn,
    /// What an operator wants to know.
    Info,
    /// What a developer wants to know.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// Each level.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// Returns the level's name, as `log.level` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }

    /// Returns the level of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// Form of a log line (`log.formatter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormatter {
    /// For reading.
    Text,
    /// One JSON object a line.
    Json,
    /// The same, with Logstash's names.
    Logstash,
}

/// A configuration that holds, and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Effective {
    /// What each module goes by.
    pub settings: Settings,
    /// What is accepted but may not mean what its writer thinks.
    pub warnings: Vec<Remark>,
    /// Every effective value with where it comes from, sorted by key.
    pub values: Vec<Value>,
    files: Vec<FileUse>,
    root_origin: (String, Origin),
}

/// A file that the configuration names.
#[derive(Clone, Debug)]
struct FileUse {
    key: String,
    origin: Origin,
    path: PathBuf,
    role: Role,
}

/// What a file has to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// A certificate of one's own and its intermediates.
    Certificate,
    /// The private key of the certificate before it.
    Key,
    /// Certificates of authorities.
    Authority,
    /// Users and bcrypt hashes.
    Passwords,
    /// A JWK set.
    KeySet,
}

/// What the tree is read with.
struct Inputs<'a> {
    has_file: bool,
    env: &'a BTreeMap<String, String>,
    upstreams: &'a [String],
    is_root: bool,
}

/// A configuration that does not hold. The operator's fault; every problem is one line of the display.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What keeps transship from starting; never empty.
    pub problems: Vec<Remark>,
    /// What else is to be said.
    pub warnings: Vec<Remark>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self {
            problems: report.problems,
            warnings: report.warnings,
        }
    }
}

/// Returns what `sources` mean.
///
/// # Errors
///
/// Every problem of the configuration at once, each with its place, key, value and what is accepted.
pub fn load(sources: &Sources) -> Result<Effective, Failure> {
    let mut reader = Reader::default();
    let root = tree(sources, &mut reader)?;
    let inputs = inputs(sources);
    let built = build::build(&mut reader, &root, &inputs);
    let Reader {
        mut report,
        mut values,
    } = reader;
    values.sort_by(|a, b| a.key.cmp(&b.key));
    let Some(built) = built.filter(|_| report.problems.is_empty()) else {
        return Err(report.into());
    };
    let admin_origin = values
        .iter()
        .find(|value| value.key == "http.debug.addr")
        .map_or(Origin::Default, |value| value.origin.clone());
    lint::addresses(
        &built.settings,
        &admin_origin,
        &built.hop_origins,
        &mut report,
    );
    if !report.problems.is_empty() {
        return Err(report.into());
    }
    Ok(Effective {
        settings: built.settings,
        warnings: report.warnings,
        values,
        files: built.files,
        root_origin: built.root_origin,
    })
}

/// Returns the tree of all that was said, its keys looked at.
fn tree(sources: &Sources, reader: &mut Reader) -> Result<Node, Failure> {
    let mut root = match &sources.file {
        Some((path, text)) => {
            let file: Arc<str> = path.to_string_lossy().into();
            match tree::parse(text, &Source::File(file)) {
                Ok(root) => root,
                Err(remark) => {
                    reader.report.problems.push(*remark);
                    return Err(std::mem::take(&mut reader.report).into());
                }
            }
        }
        None => Node::null(Origin::Default),
    };
    for name in ["storage", "auth"] {
        root.name_to_map(name);
    }
    env::apply(&mut root, &sources.env, &mut reader.report);
    apply_flags(&mut root, &sources.flags, &mut reader.report);
    walk::walk(&root, &mut reader.report);
    Ok(root)
}

/// What a gateway goes by, and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// What it goes by.
    pub options: crate::gateway::Options,
    /// The log.
    pub log: LogOptions,
    /// What is accepted but may not mean what its writer thinks.
    pub warnings: Vec<Remark>,
    /// Every effective value with where it comes from, sorted by key.
    pub values: Vec<Value>,
}

/// Returns what `sources` mean to a gateway. `now` is what certificates are held against. Costs a few reads of
/// small files; changes nothing.
///
/// # Errors
///
/// Every problem of the configuration at once.
pub fn load_gateway(sources: &Sources, now: SystemTime) -> Result<Gateway, Failure> {
    let mut reader = Reader::default();
    let root = tree(sources, &mut reader)?;
    let inputs = inputs(sources);
    let top = Spot::root(&root);
    build::version(&mut reader, &top, inputs.has_file);
    let mut files = Vec::new();
    let log = build::log(&mut reader, &top);
    let options = gateway::read(&mut reader, &top, &inputs, &mut files);
    let Reader {
        mut report,
        mut values,
    } = reader;
    values.sort_by(|a, b| a.key.cmp(&b.key));
    // Caches ignore it, gateways go by it.
    report.warnings.retain(|warning| warning.key != "http.host");
    lint::files(&files, now, &mut report);
    match (options, log) {
        (Some(options), Some(log)) if report.problems.is_empty() => Ok(Gateway {
            options,
            log,
            warnings: report.warnings,
            values,
        }),
        _ => Err(report.into()),
    }
}

fn inputs(sources: &Sources) -> Inputs<'_> {
    Inputs {
        has_file: sources.file.is_some(),
        env: &sources.env,
        upstreams: &sources.flags.upstreams,
        is_root: sources.is_root,
    }
}

/// Lays the flags that stand for a key over the tree.
fn apply_flags(root: &mut Node, flags: &Flags, report: &mut Report) {
    let overrides: [(&'static str, &[&str], &Option<String>); 6] = [
        ("--listen", &["http", "addr"], &flags.listen),
        (
            "--storage",
            &["storage", "filesystem", "rootdirectory"],
            &flags.storage,
        ),
        ("--admin", &["http", "debug", "addr"], &flags.admin),
        ("--cores", &["transship", "cores"], &flags.cores),
        ("--backend", &["gateway", "backend"], &flags.backend),
        ("--state", &["gateway", "state"], &flags.state),
    ];
    for (name, path, value) in overrides {
        let Some(value) = value else { continue };
        let origin = Origin::Flag(name);
        let steps: Vec<Step> = path
            .iter()
            .map(|name| Step::Key((*name).to_owned()))
            .collect();
        let node = Node::scalar(value.clone(), origin.clone());
        if let Err(text) = env::set(root, &steps, node, &origin) {
            report.problem(&origin, &path.join("."), text);
        }
    }
}

impl Effective {
    /// Looks at the files and the directory that the configuration names, and adds what it finds to the
    /// warnings. `now` is what certificates are held against. Costs a few reads of small files; changes
    /// nothing.
    ///
    /// # Errors
    ///
    /// What is missing, unreadable, no PEM file, not writable, or does not match.
    pub fn lint(&mut self, now: SystemTime) -> Result<(), Failure> {
        let mut report = Report::default();
        lint::files(&self.files, now, &mut report);
        let (key, origin) = &self.root_origin;
        lint::root(&self.settings.store.root, key, origin, &mut report);
        self.warnings.append(&mut report.warnings);
        if report.problems.is_empty() {
            return Ok(());
        }
        Err(Failure {
            problems: report.problems,
            warnings: self.warnings.clone(),
        })
    }
}
