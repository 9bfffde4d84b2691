//! The keys of a gateway, `gateway`, and those that it shares with a cache.

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use url::Url;

use super::read::{Reader, Spot};
use super::report::Origin;
use super::{FileUse, Inputs, Role};
use crate::gateway::{
    Accounts, Algorithm, Images, Login, MirrorRule, Options, Probe, Tokens, WarmRule,
};

/// Returns what a gateway goes by; `None` after a problem was reported.
pub(super) fn read(
    reader: &mut Reader,
    root: &Spot<'_>,
    inputs: &Inputs<'_>,
    files: &mut Vec<FileUse>,
) -> Option<Options> {
    let listen = reader.listen(&root.find("http.addr"), "");
    let tls = super::tls::pair(reader, root, "http.tls.certificate", "http.tls.key", files);
    let host = url(reader, &root.find("http.host"), false);
    let drain = reader.duration(&root.find("http.draintimeout"));
    let top = root.find("gateway");
    let backend = required(reader, &top, "backend", |reader, spot| {
        url(reader, spot, false)
    });
    let backend_login = login(reader, &top);
    let cas = cas(reader, &top, files);
    let state = state(reader, &top, inputs);
    let database = database(reader, &top.find("database"));
    let accounts = accounts(reader, &top, files);
    let tokens = tokens(reader, &top.find("token"));
    let probe = probe(reader, &top.find("probe"));
    let proxies = reader.list(&top.find("proxies"), "a list of networks", network);
    let warm = rules(reader, &top.find("warm"), warm);
    let mirror = rules(reader, &top.find("mirror"), mirror);
    let listen = listen??;
    Some(Options {
        listen: [Some(listen.socket_addr()), listen.without_ipv6()]
            .into_iter()
            .flatten()
            .collect::<Vec<SocketAddr>>(),
        tls: tls?,
        host: host?,
        drain: drain??,
        backend: backend?,
        backend_login: backend_login?,
        cas: cas?,
        state: state?,
        database: database?,
        accounts: accounts?,
        tokens: tokens?,
        probe: probe?,
        proxies: values(proxies?),
        warm: warm?,
        mirror: mirror?,
    })
}

fn values<T>(list: Vec<(Spot<'_>, T)>) -> Vec<T> {
    list.into_iter().map(|(_, value)| value).collect()
}

/// Returns the address of a server; `path`: whether one may follow its port.
fn url(reader: &mut Reader, spot: &Spot<'_>, path: bool) -> Option<Option<Url>> {
    let want = "an address such as https://registry.example.org:5000, without user and password";
    reader.parsed(spot, want, |text| {
        let url = Url::parse(text).ok()?;
        let is_web = ["http", "https"].contains(&url.scheme()) && url.has_host();
        let is_plain = url.username().is_empty() && url.password().is_none();
        let is_bare = url.query().is_none() && url.fragment().is_none();
        (is_web && is_plain && is_bare && (path || url.path() == "/")).then_some(url)
    })
}

/// Returns what `read` makes of a key that has to be there.
fn required<T>(
    reader: &mut Reader,
    top: &Spot<'_>,
    name: &str,
    read: impl FnOnce(&mut Reader, &Spot<'_>) -> Option<Option<T>>,
) -> Option<T> {
    let spot = top.find(name);
    let value = read(reader, &spot)?;
    if value.is_none() {
        let text = "missing: a gateway cannot do without it";
        reader.report.problem(&top.origin(), &spot.shown, text);
    }
    value
}

/// Returns the account of `username` and `password` below `spot`, of which there are both or neither.
fn login(reader: &mut Reader, spot: &Spot<'_>) -> Option<Option<Login>> {
    let text = |text: &str| Some(text.to_owned());
    let (name_spot, password_spot) = (spot.find("username"), spot.find("password"));
    let username = reader.parsed(&name_spot, "a name", text)?;
    let password = reader.parsed(&password_spot, "a password", |text| {
        Some(crate::auth::Secret::new(text))
    })?;
    match (username, password) {
        (None, None) => Some(None),
        (Some(username), Some(password)) => Some(Some(Login { username, password })),
        (Some(_), None) | (None, Some(_)) => {
            let text = "username and password go together";
            reader
                .report
                .problem(&spot.origin(), &name_spot.shown, text);
            None
        }
    }
}

fn cas(reader: &mut Reader, top: &Spot<'_>, files: &mut Vec<FileUse>) -> Option<Vec<PathBuf>> {
    let cas = reader.paths(&top.find("cas"))?;
    for (spot, path) in &cas {
        files.push(FileUse::new(spot, path, Role::Authority));
    }
    Some(values(cas))
}

/// Returns the state directory: as systemd says, else where such things go.
fn state(reader: &mut Reader, top: &Spot<'_>, inputs: &Inputs<'_>) -> Option<PathBuf> {
    let spot = top.find("state");
    if let Some(path) = reader.path(&spot)? {
        return Some(path);
    }
    let (path, origin) = default_state(inputs);
    reader.row(&spot.shown, path.display().to_string(), origin);
    Some(path)
}

/// Source: systemd.exec(5), `StateDirectory=`; XDG Base Directory Specification.
fn default_state(inputs: &Inputs<'_>) -> (PathBuf, Origin) {
    let variable = |name: &str| super::build::folder_of(inputs, name);
    if let Some(found) = variable("STATE_DIRECTORY") {
        return found;
    }
    let system = (PathBuf::from("/var/lib/transship-gateway"), Origin::Default);
    if inputs.is_root {
        return system;
    }
    if let Some((path, origin)) = variable("XDG_STATE_HOME") {
        return (path.join("transship-gateway"), origin);
    }
    variable("HOME").map_or(system, |(path, origin)| {
        (path.join(".local/state/transship-gateway"), origin)
    })
}

fn database(reader: &mut Reader, spot: &Spot<'_>) -> Option<Option<crate::auth::Secret>> {
    let want = "sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE";
    reader.parsed(spot, want, |text| {
        let schemes = ["sqlite:", "postgres://", "postgresql://"];
        let is_known = schemes.iter().any(|scheme| text.starts_with(scheme));
        is_known.then(|| crate::auth::Secret::new(text))
    })
}

fn accounts(reader: &mut Reader, top: &Spot<'_>, files: &mut Vec<FileUse>) -> Option<Accounts> {
    let htpasswd_spot = top.find("htpasswd");
    let htpasswd = reader.path(&htpasswd_spot);
    let policy = reader.path(&top.find("policy"));
    let htpasswd = htpasswd?;
    if let Some(path) = &htpasswd {
        files.push(FileUse::new(&htpasswd_spot, path, Role::Passwords));
    }
    Some(Accounts {
        htpasswd,
        policy: policy?,
    })
}

fn tokens(reader: &mut Reader, spot: &Spot<'_>) -> Option<Tokens> {
    let algorithm = reader.choice(&spot.find("algorithm"));
    let life = reader.duration(&spot.find("life"));
    let url_life = reader.duration(&spot.find("urllife"));
    let rotate_spot = spot.find("rotate");
    let rotate = reader.duration(&rotate_spot);
    let (life, url_life, rotate) = (life??, url_life??, rotate??);
    // Keys would have to be kept for longer than they sign, more and more of them.
    let longest = life.max(url_life);
    if !rotate.is_zero() && rotate < longest {
        let text = format!(
            "shorter than what a key signs counts (gateway.token.life, urllife): want {longest:?} at least, or 0 for never"
        );
        let (report, origin) = (&mut reader.report, rotate_spot.origin());
        report.problem(&origin, &rotate_spot.shown, text);
        return None;
    }
    Some(Tokens {
        algorithm: match algorithm?.as_str() {
            "ES256" => Algorithm::Es256,
            _ => Algorithm::EdDsa,
        },
        life,
        url_life,
        rotate,
    })
}

fn probe(reader: &mut Reader, spot: &Spot<'_>) -> Option<Probe> {
    let interval = reader.duration(&spot.find("interval"));
    let timeout = reader.duration(&spot.find("timeout"));
    Some(Probe {
        interval: interval??,
        timeout: timeout??,
    })
}

fn network(reader: &mut Reader, item: &Spot<'_>) -> Option<IpNet> {
    let want = "a network such as 10.0.0.0/8, or an address";
    let parse = |text: &str| {
        let alone = || {
            text.parse()
                .ok()
                .map(|address: std::net::IpAddr| address.into())
        };
        text.parse().ok().or_else(alone)
    };
    reader.parsed(item, want, parse).flatten()
}

type Read<T> = fn(&mut Reader, &Spot<'_>) -> Option<T>;

/// Returns each rule of a list; all are read, so that every problem is told.
fn rules<T>(reader: &mut Reader, list: &Spot<'_>, read: Read<T>) -> Option<Vec<T>> {
    let mut rules = Some(Vec::new());
    for item in list.items() {
        match (read(reader, &item), &mut rules) {
            (Some(rule), Some(rules)) => rules.push(rule),
            (None, _) => rules = None,
            (Some(_), None) => {}
        }
    }
    rules
}

fn warm(reader: &mut Reader, item: &Spot<'_>) -> Option<WarmRule> {
    let images = images(reader, item);
    let caches = texts(reader, &item.find("caches"));
    let platforms = texts(reader, &item.find("platforms"));
    let schedule = reader.parsed(
        &item.find("schedule"),
        "a cron pattern such as 0 3 * * *",
        |text| crate::gateway::is_schedule(text).then(|| text.to_owned()),
    );
    let caches = caches?;
    if caches.is_empty() {
        let text = "missing: names of the caches to warm";
        reader
            .report
            .problem(&item.origin(), &item.find("caches").shown, text);
        return None;
    }
    Some(WarmRule {
        images: images?,
        caches,
        platforms: platforms?,
        schedule: schedule?,
    })
}

fn mirror(reader: &mut Reader, item: &Spot<'_>) -> Option<MirrorRule> {
    let images = images(reader, item);
    let to = required(reader, item, "to", |reader, spot| url(reader, spot, true));
    let login = login(reader, item);
    Some(MirrorRule {
        images: images?,
        to: to?,
        login: login?,
    })
}

fn images(reader: &mut Reader, item: &Spot<'_>) -> Option<Images> {
    let repository = required(reader, item, "repository", glob);
    let tags = reader.list(&item.find("tags"), "a list of globs", |reader, spot| {
        glob(reader, spot).flatten()
    });
    Some(Images {
        repository: repository?,
        tags: values(tags?),
    })
}

fn glob(reader: &mut Reader, spot: &Spot<'_>) -> Option<Option<String>> {
    reader.parsed(spot, "a glob such as website/**", |text| {
        crate::gateway::is_glob(text).then(|| text.to_owned())
    })
}

fn texts(reader: &mut Reader, spot: &Spot<'_>) -> Option<Vec<String>> {
    let list = reader.list(spot, "a list of texts", |reader, item| {
        reader
            .parsed(item, "a text", |text| {
                (!text.is_empty()).then(|| text.to_owned())
            })
            .flatten()
    });
    list.map(values)
}
