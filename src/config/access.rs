//! Who may pull: `transship.access` and `auth`.
//!
//! Keys that contradict each other are errors, and so is an account of the cache's own on an address that
//! others reach, as long as nobody has said that its rights are meant for all of them.

use url::{Host, Url};

use super::read::{Reader, Spot};
use super::report::Origin;
use super::{FileUse, Role};
use crate::access::{Door, KeySource, Options, Rights};
use crate::auth::Secret;
use crate::limits::TOKEN_SECRET_BYTES_MIN;
use crate::{server, upstream};

/// What else the rules go by.
pub(super) struct Around<'a> {
    pub(super) server: &'a server::Options,
    pub(super) upstream: &'a upstream::Options,
    /// Where each hop comes from.
    pub(super) hop_origins: &'a [Origin],
}

impl Around<'_> {
    /// Returns where the first hop with an account of the cache's own comes from.
    fn account(&self) -> Option<&Origin> {
        let hops = self.upstream.hops.iter().zip(self.hop_origins);
        let mut with_account = hops.filter(|(hop, _)| hop.credentials.is_some());
        with_account.next().map(|(_, origin)| origin)
    }
}

/// What the sections take a stand on, each with its place.
struct Stances<'a> {
    public: Option<Spot<'a>>,
    shared: Option<Spot<'a>>,
    require_token: Option<Spot<'a>>,
    /// `auth.htpasswd` or `auth.token`.
    door: Option<Spot<'a>>,
}

/// Reads both sections; without `around`, which is when something there does not hold, for the errors
/// alone.
pub(super) fn read(
    reader: &mut Reader,
    root: &Spot<'_>,
    files: &mut Vec<FileUse>,
    around: Option<&Around<'_>>,
) -> Option<Options> {
    let section = root.find("transship.access");
    let public = stance(reader, section.find("public"));
    let shared = stance(reader, section.find("shared"));
    let require_token = stance(reader, section.find("require_token"));
    let door_spot = door_spot(reader, root);
    let door = match &door_spot {
        Some(Some(spot)) => door(reader, spot, files).map(Some),
        Some(None) => Some(None),
        None => None,
    };
    let keys = keys(reader, &section.find("keys"), files);
    let secret = reader.parsed(
        &section.find("secret"),
        "a secret text of at least 32 bytes, such as openssl rand -base64 32 prints",
        |text| (text.len() >= TOKEN_SECRET_BYTES_MIN).then(|| Secret::new(text)),
    );
    let leeway = reader.duration(&section.find("leeway"));
    let remember = reader.duration(&section.find("remember"));
    let grace = reader.duration(&section.find("grace"));
    let stances = Stances {
        public: public?,
        shared: shared?,
        require_token: require_token?,
        door: door_spot?,
    };
    contradictions(reader, &stances);
    without_effect(reader, &section, &stances);
    let around = around?;
    open_account(reader, root, &stances, around);
    unencrypted(reader, &stances, around);
    let door = door?;
    Some(Options {
        rights: rights(&stances, door.as_ref(), around),
        require_token: stances.require_token.is_some(),
        door,
        keys: keys?,
        secret: secret?,
        leeway: leeway??,
        remember: remember??,
        grace: grace??,
    })
}

/// Returns `spot` if it says `true`.
fn stance<'a>(reader: &mut Reader, spot: Spot<'a>) -> Option<Option<Spot<'a>>> {
    let is_taken = reader.boolean(&spot)?;
    Some(is_taken.then_some(spot))
}

fn rights(stances: &Stances<'_>, door: Option<&Door>, around: &Around<'_>) -> Rights {
    let of_cache = stances.shared.is_some()
        || around.account().is_some()
        || matches!(door, Some(Door::Htpasswd { .. }));
    if stances.public.is_some() {
        Rights::Public
    } else if of_cache {
        Rights::Cache
    } else {
        Rights::Client
    }
}

/// Returns the place of the one type of authentication that is chosen, be it by its mere name.
fn door_spot<'a>(reader: &mut Reader, root: &Spot<'a>) -> Option<Option<Spot<'a>>> {
    let auth = root.find("auth");
    let entries = auth.node().map_or(&[][..], |node| node.entries());
    if let [first, second, ..] = entries {
        let text = format!(
            "there can be one type of authentication, and {} stands at {}: remove one of the two",
            first.key, first.origin
        );
        let shown = format!("auth.{}", second.key);
        reader.report.problem(&second.origin, &shown, text);
        return None;
    }
    // What has another name was refused by the walk.
    let chosen = entries.first().map(|entry| auth.find(&entry.key));
    Some(chosen)
}

/// Returns the login that stands at `spot`.
fn door(reader: &mut Reader, spot: &Spot<'_>, files: &mut Vec<FileUse>) -> Option<Door> {
    match spot.shown.as_str() {
        "auth.htpasswd" => htpasswd(reader, spot, files),
        "auth.token" => token(reader, spot, files),
        _ => None,
    }
}

fn htpasswd(reader: &mut Reader, spot: &Spot<'_>, files: &mut Vec<FileUse>) -> Option<Door> {
    let realm = required(
        reader,
        spot,
        "realm",
        "what clients show when they ask for a password",
    );
    let path_spot = spot.find("path");
    let Some(path) = reader.path(&path_spot)? else {
        let text = "missing: want the file of users and bcrypt hashes that htpasswd -B writes";
        reader
            .report
            .problem(&spot.origin(), &path_spot.shown, text);
        return None;
    };
    files.push(FileUse::new(&path_spot, &path, Role::Passwords));
    Some(Door::Htpasswd {
        realm: realm?,
        path,
    })
}

fn token(reader: &mut Reader, spot: &Spot<'_>, files: &mut Vec<FileUse>) -> Option<Door> {
    let realm = required(reader, spot, "realm", "the URL of the token server");
    let service = required(
        reader,
        spot,
        "service",
        "the name of this service at the token server",
    );
    let issuer = required(reader, spot, "issuer", "the issuer of the tokens");
    let roots_spot = spot.find("rootcertbundle");
    let roots = reader.path(&roots_spot);
    let jwks_spot = spot.find("jwks");
    let jwks = reader.path(&jwks_spot);
    let algorithms = reader.choices(&spot.find("signingalgorithms"));
    if (&roots, &jwks) == (&Some(None), &Some(None)) {
        let text = "has no key to verify tokens with: give rootcertbundle or jwks";
        reader.report.problem(&spot.origin(), &spot.shown, text);
        return None;
    }
    let (roots, jwks) = (roots?, jwks?);
    if let Some(path) = &roots {
        files.push(FileUse::new(&roots_spot, path, Role::Authority));
    }
    if let Some(path) = &jwks {
        files.push(FileUse::new(&jwks_spot, path, Role::KeySet));
    }
    let realm = realm?;
    let is_url = Url::parse(&realm).is_ok_and(|url| ["http", "https"].contains(&url.scheme()));
    if !is_url {
        let realm_spot = spot.find("realm");
        let text = "is not the http or https URL of a token server: clients will not find it";
        reader
            .report
            .warning(&realm_spot.origin(), &realm_spot.shown, text);
    }
    Some(Door::Token {
        realm,
        service: service?,
        issuer: issuer?,
        roots,
        jwks,
        algorithms: algorithms?,
    })
}

/// Returns the text at `name` of a login, which has to be there and goes into a response head.
fn required(reader: &mut Reader, spot: &Spot<'_>, name: &str, what: &str) -> Option<String> {
    let text_spot = spot.find(name);
    let want = format!("{what}, on one line");
    let text = reader.parsed(&text_spot, &want, |text| {
        let is_clean = !text.is_empty() && !text.contains(char::is_control);
        is_clean.then(|| text.to_owned())
    })?;
    if text.is_none() {
        let text = format!("missing: want {what}");
        reader
            .report
            .problem(&spot.origin(), &text_spot.shown, text);
    }
    text
}

/// Returns where the keys of signed URLs are.
fn keys(
    reader: &mut Reader,
    spot: &Spot<'_>,
    files: &mut Vec<FileUse>,
) -> Option<Option<KeySource>> {
    let want = "a path, or a URL such as https://registry.example.org/.well-known/jwks.json";
    let source = reader.parsed(spot, want, key_source)?;
    match &source {
        Some(KeySource::File(path)) => files.push(FileUse::new(spot, path, Role::KeySet)),
        Some(KeySource::Url(url)) if url.scheme() == "http" && !is_loopback(url) => {
            let text =
                "whoever is on the way could put keys of his own in their place: use https://";
            reader.report.warning(&spot.origin(), &spot.shown, text);
        }
        _ => {}
    }
    Some(source)
}

fn key_source(text: &str) -> Option<KeySource> {
    if !text.contains("://") {
        let is_path = !text.is_empty() && !text.contains('\0');
        return is_path.then(|| KeySource::File(text.into()));
    }
    let url = Url::parse(text).ok()?;
    let is_plain = ["http", "https"].contains(&url.scheme())
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    is_plain.then_some(KeySource::Url(url))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// Reports each pair of stances that cannot both be meant, at the second of the two.
fn contradictions(reader: &mut Reader, stances: &Stances<'_>) {
    let Stances {
        public,
        shared,
        require_token,
        door,
    } = stances;
    let htpasswd = door.as_ref().filter(|spot| spot.shown == "auth.htpasswd");
    let pairs = [
        (
            public.as_ref(),
            shared.as_ref(),
            "there nobody's rights are asked for, here those of the cache's own credentials: remove one of the two",
        ),
        (
            public.as_ref(),
            require_token.as_ref(),
            "what is public needs no signed URL: remove one of the two",
        ),
        (
            public.as_ref(),
            door.as_ref(),
            "what is public needs no login: remove one of the two",
        ),
        (
            htpasswd,
            shared.as_ref(),
            "whoever logs in there has the rights of the cache's own credentials, and nobody else has: remove \
             this key, or the login if everyone is meant",
        ),
        (
            door.as_ref(),
            require_token.as_ref(),
            "no login gives anything where only signed URLs do: remove one of the two",
        ),
    ];
    for (first, second, reason) in pairs {
        if let (Some(first), Some(second)) = (first, second) {
            let text = format!("contradicts {} ({}): {reason}", first.shown, first.origin());
            reader.report.problem(&second.origin(), &second.shown, text);
        }
    }
}

/// Remarks on what is given and not used.
fn without_effect(reader: &mut Reader, section: &Spot<'_>, stances: &Stances<'_>) {
    if stances.public.is_none() {
        return;
    }
    for name in ["keys", "secret"] {
        let spot = section.find(name);
        if spot.node().is_some() {
            let text = "has no effect: with transship.access.public nothing is checked";
            reader.report.warning(&spot.origin(), &spot.shown, text);
        }
    }
}

/// Refuses an account of the cache's own on an address that others reach, unless somebody has said who may
/// use its rights.
fn open_account(reader: &mut Reader, root: &Spot<'_>, stances: &Stances<'_>, around: &Around<'_>) {
    let Some(hop_origin) = around.account() else {
        return;
    };
    let listen = around.server.listen;
    if listen.is_loopback() || stances.shared.is_some() || stances.door.is_some() {
        return;
    }
    let username = root.find("proxy.username");
    let (origin, key) = match username.node() {
        Some(_) => (username.origin(), username.shown.as_str()),
        None => (hop_origin.clone(), "upstreams"),
    };
    let remedies = match stances.public {
        Some(_) => {
            "transship.access.public does not cover an account: remove it, and have clients log in (auth), or set \
             transship.access.shared: true if that is meant"
        }
        None => "have clients log in (auth), or set transship.access.shared: true if that is meant",
    };
    let text = format!(
        "whoever reaches http.addr ({listen}) could pull whatever this account may pull: {remedies}"
    );
    reader.report.problem(&origin, key, text);
}

/// Remarks on a login over plain HTTP.
fn unencrypted(reader: &mut Reader, stances: &Stances<'_>, around: &Around<'_>) {
    let Some(door) = &stances.door else { return };
    if around.server.tls.is_some() || around.server.listen.is_loopback() {
        return;
    }
    let text = "passwords and tokens come over the network unencrypted: give http.tls.certificate and \
                http.tls.key, or have TLS end in front of the cache";
    reader.report.warning(&door.origin(), &door.shown, text);
}
