//! From the tree to each module's Options.

use std::collections::BTreeMap;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use super::access::{self, Around};
use super::read::{Reader, Spot};
use super::report::Origin;
use super::store_room;
use super::tree::{Content, Node};
use super::upstreams::{self, Upstreams};
use super::{FileUse, Inputs, LogFormatter, LogLevel, LogOptions, Role, Settings};
use crate::auth::Secret;
use crate::fill::OnRange;
use crate::limits::ADMIN_TOKEN_BYTES_MIN;
use crate::upstream::Policy;
use crate::{admin, fill, server, store, upstream};

/// What was built, and what the lints go by.
pub(super) struct Built {
    pub(super) settings: Settings,
    pub(super) files: Vec<FileUse>,
    pub(super) root_origin: (String, Origin),
    pub(super) hop_origins: Vec<Origin>,
}

/// Returns the settings that `tree` means; `None` after a problem was reported.
pub(super) fn build(reader: &mut Reader, tree: &Node, inputs: &Inputs<'_>) -> Option<Built> {
    let root = Spot::root(tree);
    version(reader, &root, inputs.has_file);
    let mut files = Vec::new();
    let log = log(reader, &root);
    let access_log = super::access_log::read(reader, &root);
    let store_root = store_root(reader, &root, inputs);
    let deletes = reader.boolean(&root.find("storage.delete.enabled"));
    let upstreams = upstreams::read(reader, &root, inputs.upstreams, deletes.unwrap_or(true));
    let server = server(reader, &root, &mut files);
    let admin = admin(reader, &root, inputs);
    let cores = reader.integer(&root.find("transship.cores"));
    if cores == Some(None) {
        reader.row("transship.cores", "all", Origin::Default);
    }
    let upstream = upstream(reader, &root, upstreams, &mut files);
    let around =
        server
            .as_ref()
            .zip(upstream.as_ref())
            .map(|(server, (upstream, hop_origins, _))| Around {
                server,
                upstream,
                hop_origins,
            });
    let access = access::read(reader, &root, &mut files, around.as_ref());
    let store = store_room::read(reader, &root);
    let fill = fill(reader, &root);
    let health = super::health::read(reader, &root);
    let (root, root_origin) = store_root?;
    let (upstream, hop_origins, blob_ttl) = upstream?;
    Some(Built {
        settings: Settings {
            server: server?,
            admin: admin?,
            access: access?,
            store: store::Options {
                root,
                blob_ttl,
                ..store?
            },
            upstream,
            fill: fill?,
            health: health?,
            log: log?,
            access_log: access_log?,
            cores: cores?.and_then(|cores| usize::try_from(cores).ok()),
        },
        files,
        root_origin,
        hop_origins,
    })
}

/// Checks the format's version, which a file must name and which nothing else can.
pub(super) fn version(reader: &mut Reader, root: &Spot<'_>, has_file: bool) {
    let spot = root.find("version");
    if !has_file {
        return;
    }
    if spot.node().is_none() {
        let text = "missing: a registry configuration begins with version: 0.1";
        reader.report.problem(&root.origin(), "version", text);
        return;
    }
    reader.choice(&spot);
}

pub(super) fn log(reader: &mut Reader, root: &Spot<'_>) -> Option<LogOptions> {
    let mut level_spot = root.find("log.level");
    let old = root.find("loglevel");
    if level_spot.node().is_none() && old.node().is_some() {
        level_spot = level_spot.standing_at(&old);
    }
    let level = reader.choice(&level_spot);
    let formatter = reader.choice(&root.find("log.formatter"));
    let fields = fields(reader, &root.find("log.fields"));
    Some(LogOptions {
        level: match level?.as_str() {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => LogLevel::Info,
        },
        formatter: match formatter?.as_str() {
            "json" => LogFormatter::Json,
            "logstash" => LogFormatter::Logstash,
            _ => LogFormatter::Text,
        },
        fields: fields?,
    })
}

/// Returns the fields that every log line carries.
fn fields(reader: &mut Reader, spot: &Spot<'_>) -> Option<BTreeMap<String, String>> {
    const WANT: &str = "a map of names with one value each";
    let Some(node) = spot.node() else {
        return Some(BTreeMap::new());
    };
    let Content::Map(entries) = &node.content else {
        reader.refuse(spot, WANT);
        return None;
    };
    let mut fields = BTreeMap::new();
    for entry in entries {
        let spot = spot.at(&entry.value, &entry.key);
        match &entry.value.content {
            Content::Scalar(text) => {
                reader.row(&spot.shown, text, spot.origin());
                fields.insert(entry.key.clone(), text.clone());
            }
            Content::Null => {
                fields.insert(entry.key.clone(), String::new());
            }
            Content::List(_) | Content::Map(_) => reader.refuse(&spot, "one value"),
        }
    }
    Some(fields)
}

/// Returns the store's root, its key and its origin.
fn store_root(
    reader: &mut Reader,
    root: &Spot<'_>,
    inputs: &Inputs<'_>,
) -> Option<(PathBuf, (String, Origin))> {
    let spot = root.find("storage.filesystem.rootdirectory");
    if let Some(path) = reader.path(&spot)? {
        return Some((path, (spot.shown.clone(), spot.origin())));
    }
    let (path, origin) = default_root(inputs);
    reader.row(&spot.shown, path.display().to_string(), origin.clone());
    Some((path, (spot.shown, origin)))
}

/// Returns where blobs go when nobody says.
///
/// Source: systemd.exec(5), `StateDirectory=`; XDG Base Directory Specification, which has paths that are
/// not absolute ignored.
fn default_root(inputs: &Inputs<'_>) -> (PathBuf, Origin) {
    let variable = |name: &str| folder_of(inputs, name);
    if let Some(found) = variable("STATE_DIRECTORY") {
        return found;
    }
    let system = (PathBuf::from("/var/lib/transship"), Origin::Default);
    if inputs.is_root {
        return system;
    }
    if let Some((path, origin)) = variable("XDG_CACHE_HOME") {
        return (path.join("transship"), origin);
    }
    match variable("HOME") {
        Some((path, origin)) => (path.join(".cache/transship"), origin),
        None => system,
    }
}

/// Returns the first folder that variable `name` names, if that is an absolute path.
pub(super) fn folder_of(inputs: &Inputs<'_>, name: &str) -> Option<(PathBuf, Origin)> {
    let value = inputs.env.get(name)?;
    let first = value.split(':').next().unwrap_or_default();
    first
        .starts_with('/')
        .then(|| (PathBuf::from(first), Origin::Env(name.into())))
}

fn server(
    reader: &mut Reader,
    root: &Spot<'_>,
    files: &mut Vec<FileUse>,
) -> Option<server::Options> {
    let listen = reader.listen(&root.find("http.addr"), "");
    let prefix = reader.parsed(
        &root.find("http.prefix"),
        "a path that begins and ends with a slash, such as /mirror/",
        |text| is_prefix(text).then(|| text.to_owned()),
    );
    let headers = super::headers::read(reader, &root.find("http.headers"));
    let tls = super::tls::server(reader, root, files);
    let drain_timeout = reader.duration(&root.find("http.draintimeout"));
    let idle_timeout = reader.duration(&root.find("transship.server.idle_timeout"));
    let head_timeout = reader.duration(&root.find("transship.server.head_timeout"));
    let send_timeout = reader.duration(&root.find("transship.server.send_timeout"));
    let stale_manifests = reader.duration(&root.find("transship.stale.manifests"));
    let connections_max = reader.integer(&root.find("transship.server.connections_max"));
    let per_address_max =
        reader.integer(&root.find("transship.server.connections_per_address_max"));
    let size = |number| usize::try_from(number).ok();
    Some(server::Options {
        listen: listen??,
        prefix: prefix??,
        headers: headers?,
        tls: tls?,
        drain_timeout: drain_timeout??,
        idle_timeout: idle_timeout??,
        head_timeout: head_timeout??,
        send_timeout: send_timeout??,
        stale_manifests: stale_manifests?.filter(|most| !most.is_zero()),
        connections_max: size(connections_max??)?,
        connections_per_address_max: NonZeroUsize::new(size(per_address_max??)?),
    })
}

/// Says whether `text` can stand before `/v2/`: RFC 3986 unreserved characters between single slashes.
fn is_prefix(text: &str) -> bool {
    let segment = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    text == "/"
        || text
            .strip_prefix('/')
            .and_then(|rest| rest.strip_suffix('/'))
            .is_some_and(|inner| inner.split('/').all(segment))
}

fn admin(reader: &mut Reader, root: &Spot<'_>, inputs: &Inputs<'_>) -> Option<admin::Options> {
    let spot = root.find("http.debug.addr");
    let listen = reader.listen(&spot, ", or off");
    let metrics_path = reader.parsed(
        &root.find("http.debug.prometheus.path"),
        "a path such as /metrics, other than /healthz, /readyz and /v1/",
        |text| {
            let plain = text.starts_with('/') && is_prefix(&format!("{text}/"));
            let taken = ["/healthz", "/readyz"].contains(&text) || text.starts_with("/v1/");
            (plain && !taken).then(|| text.to_owned())
        },
    );
    let token = reader.parsed(
        &root.find("transship.admin.token"),
        "a secret text of at least 16 bytes, such as openssl rand -base64 32 prints",
        |text| (text.len() >= ADMIN_TOKEN_BYTES_MIN).then(|| Secret::new(text)),
    );
    let spot = root.find("transship.admin.socket");
    let socket = reader.parsed(&spot, "an absolute path, or off", |text| match text {
        "off" => Some(None),
        _ => text.starts_with('/').then(|| Some(PathBuf::from(text))),
    });
    // What the service manager made for the service (systemd.exec(5), `RuntimeDirectory=`).
    let runtime = inputs.env.get("RUNTIME_DIRECTORY");
    let runtime = runtime.and_then(|paths| paths.split(':').next());
    let runtime = runtime.filter(|path| path.starts_with('/'));
    let default = runtime.map(|path| Path::new(path).join("admin.sock"));
    Some(admin::Options {
        listen: listen?,
        metrics_path: metrics_path??,
        token: token?,
        socket: socket?.unwrap_or(default),
    })
}

type UpstreamParts = (upstream::Options, Vec<Origin>, Option<std::time::Duration>);

fn upstream(
    reader: &mut Reader,
    root: &Spot<'_>,
    upstreams: Option<Upstreams<'_>>,
    files: &mut Vec<FileUse>,
) -> Option<UpstreamParts> {
    let policy = reader.choice(&root.find("transship.upstream.policy"));
    let connect_timeout = reader.duration(&root.find("transship.upstream.connect_timeout"));
    let head_timeout = reader.duration(&root.find("transship.upstream.head_timeout"));
    let progress_timeout = reader.duration(&root.find("transship.upstream.progress_timeout"));
    let bandwidth = reader.parsed(
        &root.find("transship.upstream.bandwidth"),
        "a size a second such as 100MiB, or 0",
        store_room::bytes,
    );
    let connections_max = reader.integer(&root.find("transship.upstream.connections_max"));
    let realms = reader.list(
        &root.find("transship.upstream.realms"),
        "a list of host names",
        |reader, item| {
            reader
                .parsed(item, "a host name, perhaps with :PORT", realm)
                .flatten()
        },
    );
    let client_certificate = super::tls::upstream(reader, root, files);
    let upstreams = upstreams?;
    for (spot, path) in &upstreams.cas {
        files.push(FileUse::new(spot, path, Role::Authority));
    }
    let (hop_origins, hops) = upstreams.hops.into_iter().unzip();
    let options = upstream::Options {
        hops,
        policy: match policy?.as_str() {
            "failover" => Policy::Failover,
            "rendezvous" => Policy::Rendezvous,
            _ => Policy::RoundRobin,
        },
        cas: upstreams.cas.into_iter().map(|(_, path)| path).collect(),
        client_certificate: client_certificate?,
        connect_timeout: connect_timeout??,
        head_timeout: head_timeout??,
        progress_timeout: progress_timeout??,
        bytes_per_second: NonZeroU64::new(bandwidth??),
        connections_max: NonZeroUsize::new(usize::try_from(connections_max??).ok()?),
        realms: realms?.into_iter().map(|(_, realm)| realm).collect(),
    };
    Some((options, hop_origins, upstreams.blob_ttl))
}

fn fill(reader: &mut Reader, root: &Spot<'_>) -> Option<fill::Options> {
    let streams_max = reader.integer(&root.find("transship.upstream.streams_max"));
    let on_range = reader.choice(&root.find("transship.fill.on_range"));
    Some(fill::Options {
        streams_max: usize::try_from(streams_max??).ok()?,
        on_range: match on_range?.as_str() {
            "only" => OnRange::Only,
            _ => OnRange::Complete,
        },
    })
}

/// Returns a host name or address with its port, if any, in lower case.
fn realm(text: &str) -> Option<String> {
    if text.contains(['/', '@', '?', '#']) || text.contains(char::is_whitespace) {
        return None;
    }
    let url = url::Url::parse(&format!("https://{text}")).ok()?;
    url.host_str().filter(|host| !host.is_empty())?;
    Some(text.to_ascii_lowercase())
}
