//! The one table of keys: what each is, what transship makes of it, its default and a sentence about it.
//!
//! The walk over a configuration, the environment's names, the readers of values and
//! `docs/configuration.md` all go by this table; a key that is not in it is unknown. A path leaves out
//! the index of a list: `middleware.registry.name` is the name of any entry of that list. Keys below one
//! that is ignored or refused are not listed: they share its fate.
//!
//! Source: distribution 2.8.3 and 3.1.1, `docs/configuration.md` and `configuration/configuration.go`;
//! the `downstream` middleware as the content cache's documents describe it.

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Names from the top, joined by dots, without indexes of lists.
    pub path: &'static str,
    /// What transship makes of it.
    pub treatment: Treatment,
    /// What stands there.
    pub kind: Kind,
    /// The value when nobody gives one, in the form that the file takes; empty where there is none or
    /// where `doc` tells how it is found.
    pub default: &'static str,
    /// One sentence or two for the operator.
    pub doc: &'static str,
    /// When a change of it counts.
    pub applies: Applies,
}

/// When a change of a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// With the reload that reads it.
    AtOnce,
    /// With the next start, or with the hand-over to a new process.
    Restart,
}

/// What transship makes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It means here what it means to the registry.
    Used,
    /// Accepted with one warning, which ends in this reason.
    Ignored(&'static str),
    /// Accepted while it has one of these values; any other is refused with this advice.
    Only(&'static [&'static str], &'static str),
    /// Accepted without a word while it has one of these values; any other is ignored with a warning
    /// that ends in this reason.
    Without(&'static [&'static str], &'static str),
    /// An error with this advice, because ignoring it would change what the file means.
    Refused(&'static str),
    /// The old name of this path: accepted with a warning.
    Renamed(&'static str),
}

/// What stands at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A map of further keys of this table.
    Section,
    /// A list of plug-ins: maps of further keys of this table, each with a name.
    Entries,
    /// A list of maps of further keys of this table.
    Sections,
    /// Names of the operator's choice with one value each.
    Map,
    /// Header fields: names with a list of values each.
    Headers,
    /// Header fields whose values are never printed.
    SecretHeaders,
    /// A text.
    Text,
    /// A text that is never printed.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number, both bounds included.
    Integer(u64, u64),
    /// A duration as Go writes it; whether zero is accepted.
    Duration {
        /// Zero is accepted, and `doc` says what it means.
        zero: bool,
    },
    /// A size in bytes, as `10GiB`.
    Bytes,
    /// A size in bytes, or a share of the file system, as `90%`.
    Amount,
    /// A whole number of per cent, as `95%`.
    Percent,
    /// A path of the file system.
    Path,
    /// A list of such paths.
    Paths,
    /// An address to listen on.
    Listen,
    /// The URL of a registry.
    Url,
    /// A list of such URLs.
    Urls,
    /// A list of such URLs, or of maps that name an origin and the caches before it.
    Upstreams,
    /// A list of host names, each perhaps with a port.
    Hosts,
    /// A list of networks in CIDR notation.
    Networks,
    /// A list of texts.
    Texts,
    /// A list of these words, each as it is written here.
    Choices(&'static [&'static str]),
    /// A list of names of cipher suites.
    CipherSuites,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Anything: nobody reads it.
    Any,
}

impl Kind {
    /// Says whether elements of a list may follow, which the environment reaches by number.
    pub(super) const fn is_list(self) -> bool {
        matches!(
            self,
            Self::Entries
                | Self::Sections
                | Self::Paths
                | Self::Urls
                | Self::Upstreams
                | Self::Hosts
                | Self::Networks
                | Self::Texts
                | Self::Choices(_)
                | Self::CipherSuites
        )
    }

    /// Says whether what stands there is never printed.
    pub(super) const fn is_secret(self) -> bool {
        matches!(self, Self::Secret | Self::SecretHeaders)
    }

    /// Says whether the value is one text, for which an environment variable need not be quoted YAML.
    pub(super) const fn is_text(self) -> bool {
        matches!(
            self,
            Self::Text | Self::Secret | Self::Path | Self::Listen | Self::Url
        )
    }
}

/// Returns the key of `path`.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    TABLE.iter().find(|key| key.path == path)
}

/// Returns the names of the keys right below `prefix`; the empty prefix is the top.
pub(super) fn names_below(prefix: &str) -> impl Iterator<Item = &'static str> {
    TABLE.iter().filter_map(move |key| {
        let below = match prefix {
            "" => Some(key.path),
            _ => key.path.strip_prefix(prefix)?.strip_prefix('.'),
        };
        below.filter(|name| !name.contains('.'))
    })
}

/// Returns the path of `name` below `prefix`.
pub(super) fn join(prefix: &str, name: &str) -> String {
    match prefix {
        "" => name.to_owned(),
        _ => format!("{prefix}.{name}"),
    }
}

const DRIVER: &str = "blobs are stored on a local file system only: use storage.filesystem";
const SILLY: &str =
    "it lets in whoever shows any Authorization at all: use auth.htpasswd or auth.token";

/// Algorithms of `auth.token.signingalgorithms`.
///
/// Source: distribution 3.1.1, `registry/auth/token/token.go`.
const SIGNING_ALGORITHMS: &[&str] = &[
    "EdDSA", "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512",
    "PS256", "PS384", "PS512",
];

const fn key(
    path: &'static str,
    treatment: Treatment,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        path,
        treatment,
        kind,
        default,
        doc,
        applies: Applies::Restart,
    }
}

/// Returns a key that means something and that a reload applies.
const fn live(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        applies: Applies::AtOnce,
        ..used(path, kind, default, doc)
    }
}

/// Returns a section.
const fn section(path: &'static str, doc: &'static str) -> Key {
    key(path, Treatment::Used, Kind::Section, "", doc)
}

/// Returns a key that means something.
const fn used(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    key(path, Treatment::Used, kind, default, doc)
}

/// Returns a key that is accepted and means nothing here, for the reason that its warning gives.
const fn ignored(path: &'static str, reason: &'static str) -> Key {
    key(path, Treatment::Ignored(reason), Kind::Any, "", "")
}

/// Returns a key that is an error.
const fn refused(path: &'static str, advice: &'static str) -> Key {
    key(path, Treatment::Refused(advice), Kind::Any, "", "")
}

const POSITIVE: Kind = Kind::Duration { zero: false };
const OR_ZERO: Kind = Kind::Duration { zero: true };

/// Every key that is known, in the order of the registry's own documents.
#[rustfmt::skip]
pub const TABLE: &[Key] = &[
    used("version", Kind::Choice(&["0.1"]), "", "Version of the file's format. Every file has to say it."),

    section("log", "What is logged, and how. The log goes to standard error."),
    live("log.level", Kind::Choice(&["error", "warn", "info", "debug", "trace"]), "info",
        "Least severe message that is logged. `trace` is transship's own."),
    live("log.formatter", Kind::Choice(&["text", "json", "logstash"]), "text", "Form of a log line."),
    live("log.fields", Kind::Map, "", "Fields added to every line, such as `service: cache`."),
    section("log.accesslog", "The registry's access log, which goes to standard output."),
    live("log.accesslog.disabled", Kind::Bool, "",
        "`false` turns the access log on, to standard output, unless `transship.access_log.output` says otherwise. \
         (The registry logs requests unless it is told not to; here it is the other way round.)"),
    ignored("log.hooks", "no mail is sent: watch the log or the metrics"),
    ignored("log.reportcaller", "lines name their module, not their caller"),
    key("loglevel", Treatment::Renamed("log.level"), Kind::Text, "", "The registry's old name of `log.level`."),

    section("storage", "Where blobs are kept."),
    section("storage.filesystem", "The storage driver that there is: a local file system."),
    used("storage.filesystem.rootdirectory", Kind::Path, "",
        "Root of the store; made if it is missing. Without it: the first path of `$STATE_DIRECTORY`, else \
         `/var/lib/transship` as root, and `$XDG_CACHE_HOME/transship` or `$HOME/.cache/transship` as any \
         other user."),
    ignored("storage.filesystem.maxthreads", "the store does not use threads in this way"),
    refused("storage.s3", DRIVER),
    refused("storage.azure", DRIVER),
    refused("storage.gcs", DRIVER),
    refused("storage.swift", DRIVER),
    refused("storage.oss", DRIVER),
    refused("storage.inmemory", DRIVER),
    section("storage.delete", "Whether blobs may be deleted."),
    live("storage.delete.enabled", Kind::Bool, "false", "Lets `blobttl` delete blobs; it must be `true` with `blobttl`."),
    ignored("storage.redirect", "blobs are always sent from here"),
    ignored("storage.cache", "the store keeps its own index in memory"),
    ignored("storage.tag", "tags are not stored here"),
    section("storage.maintenance", "The registry's housekeeping."),
    ignored("storage.maintenance.uploadpurging", "nothing is uploaded to a pull-only cache"),
    section("storage.maintenance.readonly", "The registry's read-only mode."),
    key("storage.maintenance.readonly.enabled",
        Treatment::Only(&["false", "no", "off"], "a cache has to write what it fetches: remove it or set it to false"),
        Kind::Bool, "false", "Clients never write here; the cache itself has to."),

    section("auth", "A login at the cache itself, of one type. Without it clients show the origin's credentials, see \
         `transship.access`."),
    refused("auth.silly", SILLY),
    section("auth.htpasswd", "Users and passwords of the cache's own. Whoever logs in pulls what the cache's own \
         credentials may pull: the password is never passed on."),
    used("auth.htpasswd.realm", Kind::Text, "", "What clients show when they ask for a password. Required."),
    used("auth.htpasswd.path", Kind::Path, "", "File of users and bcrypt hashes, as `htpasswd -B` writes it. Required; \
         it is not made if it is missing."),
    section("auth.token", "Tokens of a token server, which say what each client may pull."),
    used("auth.token.realm", Kind::Text, "", "URL of the token server, where clients are sent to. Required."),
    used("auth.token.service", Kind::Text, "", "Name of this service at the token server: the tokens' audience. Required."),
    used("auth.token.issuer", Kind::Text, "", "The tokens' issuer. Required."),
    used("auth.token.rootcertbundle", Kind::Path, "", "PEM file of certificates whose keys sign tokens, or that vouch \
         for those that do. This or `jwks` is required."),
    used("auth.token.jwks", Kind::Path, "", "JWK set whose keys sign tokens."),
    used("auth.token.signingalgorithms", Kind::Choices(SIGNING_ALGORITHMS), "", "Algorithms that tokens may be \
         signed with. Without it: all that are supported."),
    key("auth.token.autoredirect",
        Treatment::Only(&["false", "no", "off"], "clients are always sent to auth.token.realm: remove it"),
        Kind::Bool, "false", "The registry's way to have the token server at its own address."),
    ignored("auth.token.autoredirectpath", "clients are always sent to auth.token.realm"),
    ignored("auth.token.jwksrefreshinterval", "the file is read again when it changes"),

    section("middleware", "The registry's plug-ins, one of which makes a registry a cache."),
    used("middleware.registry", Kind::Entries, "", "The entry named `downstream` says what is cached from where."),
    used("middleware.registry.name", Kind::Choice(&["downstream"]), "", "Name of the middleware."),
    used("middleware.registry.disabled", Kind::Bool, "false", "Takes the entry as not written."),
    section("middleware.registry.options", "Options of `downstream`."),
    live("middleware.registry.options.blobttl", POSITIVE, "",
        "A blob that was not pulled for this long is deleted. A positive integer and a unit of `ns us ms s m h`; \
         **without a unit it is nanoseconds**. Needs `storage.delete.enabled: true`. Without it blobs are kept \
         for good."),
    used("middleware.registry.options.upstreams", Kind::Upstreams, "https://registry-1.docker.io",
        "Registries or caches to fetch from, as `scheme://host:port`, asked in round-robin order unless \
         `transship.upstream.policy` says otherwise. The form of \
         version 2.2, a list of `originhost` and `upstreamhosts`, is read as well."),
    used("middleware.registry.options.upstreams.originhost", Kind::Url, "", "The registry that holds the truth."),
    used("middleware.registry.options.upstreams.upstreamhosts", Kind::Urls, "",
        "Caches to ask in its stead, likewise."),
    used("middleware.registry.options.cas", Kind::Paths, "",
        "PEM files of certificate authorities of the upstreams, trusted besides the public ones."),
    used("middleware.repository", Kind::Entries, "", "Refused, unless each entry is `disabled: true`."),
    used("middleware.storage", Kind::Entries, "", "Refused, unless each entry is `disabled: true`."),

    ignored("reporting", "nothing is reported to third parties"),

    section("http", "The address that clients talk to."),
    used("http.addr", Kind::Listen, ":5000", "Where clients connect: `:PORT`, `IPv4:PORT`, `[IPv6]:PORT` or `localhost:PORT`."),
    key("http.net", Treatment::Only(&["tcp"], "clients are served over TCP only: remove it, or set it to tcp"),
        Kind::Choice(&["tcp"]), "tcp", "Kind of socket."),
    used("http.prefix", Kind::Text, "/", "Path before `/v2/`; begins and ends with a slash."),
    ignored("http.host", "no response of this cache holds its own URL"),
    key("http.secret", Treatment::Ignored("it signs uploads, and nothing is uploaded to a pull-only cache"),
        Kind::Secret, "", ""),
    ignored("http.relativeurls", "no response of this cache holds its own URL"),
    live("http.draintimeout", OR_ZERO, "30s",
        "How long responses in flight may go on after SIGTERM; `0` ends them at once. (The registry's default is 0.)"),
    section("http.tls", "TLS towards clients. Without it they are served plain HTTP."),
    used("http.tls.certificate", Kind::Path, "", "PEM file of the certificate, followed by its intermediates."),
    used("http.tls.key", Kind::Path, "", "PEM file of the certificate's private key, unencrypted."),
    used("http.tls.clientcas", Kind::Paths, "",
        "PEM files of authorities; with any, clients are asked for certificates as `clientauth` says."),
    used("http.tls.clientauth",
        Kind::Choice(&["request-client-cert", "require-any-client-cert", "verify-client-cert-if-given",
            "require-and-verify-client-cert"]),
        "require-and-verify-client-cert",
        "How strictly client certificates are asked for; without `clientcas` they are not. Whoever \
         vouches for the certificate is not asked with the first two."),
    used("http.tls.minimumtls", Kind::Choice(&["tls1.2", "tls1.3"]), "tls1.2", "Lowest protocol version."),
    used("http.tls.ciphersuites", Kind::CipherSuites, "",
        "TLS 1.2 suites that are offered, by the registry's names; without it all six with forward secrecy and \
         AEAD: `TLS_ECDHE_ECDSA_WITH_…` and `TLS_ECDHE_RSA_WITH_…` of `AES_128_GCM_SHA256`, \
         `AES_256_GCM_SHA384` and `CHACHA20_POLY1305_SHA256`. Any other name is an error. As in the registry, \
         the list is about TLS 1.2: TLS 1.3 suites may stand in it, and all three are always offered; with \
         nothing else in it, TLS 1.3 is all that is offered. The client's order decides."),
    refused("http.tls.letsencrypt", "certificates are not fetched: give http.tls.certificate and http.tls.key"),
    used("http.headers", Kind::Headers, "",
        "Fields added to every response, such as `X-Content-Type-Options: [nosniff]`."),
    ignored("http.http2", "clients are served HTTP/1.1"),
    ignored("http.h2c", "clients are served HTTP/1.1"),
    section("http.debug", "The admin address: metrics and health."),
    used("http.debug.addr", Kind::Listen, "127.0.0.1:5001",
        "Where metrics and health are served; `off` for nowhere. (The registry's default is nowhere.)"),
    section("http.debug.prometheus", "The metrics page."),
    key("http.debug.prometheus.enabled",
        Treatment::Without(&["true", "yes", "on"], "metrics are served whenever the admin address is"),
        Kind::Bool, "true", "Metrics are served whenever the admin address is."),
    used("http.debug.prometheus.path", Kind::Text, "/metrics", "Path of the metrics page."),

    ignored("notifications", "a pull-only cache has no events that a registry would send"),
    refused("redis", "nothing is shared by way of Redis, each cache has its own store: remove the section"),
    section("health", "Checks besides the cache's own. While one fails, clients are answered 503 and `/readyz` and \
         `/debug/health` tell why."),
    section("health.storagedriver", "The registry's check of its storage."),
    key("health.storagedriver.enabled",
        Treatment::Without(&["true", "yes", "on"], "the disk is always watched, and what fails there is told by /readyz"),
        Kind::Bool, "true", "The disk is always watched; what fails there is a reason of `/readyz`, and no pull fails for it."),
    ignored("health.storagedriver.interval", "the disk is watched whenever it is used"),
    ignored("health.storagedriver.threshold", "the disk is watched whenever it is used"),
    live("health.file", Kind::Sections, "", "Files that must not be there: making one takes the cache out of service."),
    live("health.file.file", Kind::Path, "", "The file's path."),
    live("health.file.interval", POSITIVE, "10s", "How often it is looked at."),
    live("health.http", Kind::Sections, "", "Addresses that must answer a HEAD. HTTPS is trusted by the public authorities; \
         redirects are not followed."),
    live("health.http.uri", Kind::Text, "", "The address."),
    live("health.http.headers", Kind::SecretHeaders, "", "Fields that are sent."),
    live("health.http.statuscode", Kind::Integer(100, 599), "200", "The status that is well."),
    live("health.http.timeout", POSITIVE, "5s", "How long an answer may take. (The registry's default is for ever.)"),
    live("health.http.interval", POSITIVE, "10s", "How often it is asked."),
    live("health.http.threshold", Kind::Integer(0, 1000), "0", "How often in a row it has to fail; `0` is once."),
    live("health.tcp", Kind::Sections, "", "Ports that must take a connection."),
    live("health.tcp.addr", Kind::Text, "", "`HOST:PORT`."),
    live("health.tcp.timeout", POSITIVE, "5s", "How long connecting may take. (The registry's default is for ever.)"),
    live("health.tcp.interval", POSITIVE, "10s", "How often it is tried."),
    live("health.tcp.threshold", Kind::Integer(0, 1000), "0", "How often in a row it has to fail; `0` is once."),

    section("proxy", "The registry's own way to name an upstream, read in place of the `downstream` middleware."),
    used("proxy.remoteurl", Kind::Url, "", "The registry to fetch from, as `scheme://host:port`."),
    used("proxy.username", Kind::Text, "", "User name of the cache's own account there."),
    used("proxy.password", Kind::Secret, "", "Password of that account."),
    live("proxy.ttl", OR_ZERO, "",
        "A blob that was not pulled for this long is deleted; `0` is never. Without it blobs are kept for good. \
         (The registry's default is 168h.)"),
    refused("proxy.exec", "credential helpers are not run: give proxy.username and proxy.password"),
    ignored("proxy.cachewritetimeout", "a fill does not depend on its client"),

    ignored("compatibility", "manifests are passed on as the origin has them"),
    ignored("validation", "nothing is uploaded to a pull-only cache"),
    ignored("policy", "nothing is uploaded to a pull-only cache"),
    ignored("catalog", "catalogues are the origin's"),
    ignored("tags", "tag lists are the origin's"),

    section("transship", "What the registry has no key for. Unknown keys are errors here."),
    used("transship.cores", Kind::Integer(1, 1024), "",
        "Cores that serve, one thread each. Without it: all that the process may run on."),
    section("transship.access_log", "A line for each request, written by a thread of its own. See `docs/logs.md`."),
    live("transship.access_log.output", Kind::Text, "", "Where to: `off`, `stdout`, `journald`, or the path of a file or \
         named pipe. Without it `off`, or `stdout` where `log.accesslog.disabled` is `false`."),
    live("transship.access_log.format", Kind::Choice(&["combined", "json"]), "combined", "Apache's combined format with \
         more fields behind it, or one JSON object a line."),
    live("transship.access_log.rotate_size", Kind::Bytes, "100MiB", "Size at which a file is moved to `PATH.1` and \
         another one begun; `0` leaves that to others, such as logrotate and SIGHUP."),
    live("transship.access_log.rotate_keep", Kind::Integer(0, 1000), "5", "How many such files are kept."),
    section("transship.admin", "The admin API, see `docs/admin.md`."),
    live("transship.admin.token", Kind::Secret, "", "Whoever shows it as `Authorization: Bearer` may use the admin API at \
         `http.debug.addr`; health and metrics need none. Without it whoever is on this host may, if that address is \
         loopback, and nobody if it is not. At least 16 bytes."),
    used("transship.admin.socket", Kind::Path, "", "Unix socket of the admin API, for the user that transship runs as and \
         for root; `off` for none. Without it: `admin.sock` in the first path of `$RUNTIME_DIRECTORY`, else none."),
    section("transship.access", "Who may pull. Without any of these keys each client has its own rights: its \
         `Authorization` is passed to the origin, whose answer counts."),
    used("transship.access.public", Kind::Bool, "false", "Everything behind this cache is public: what is stored is \
         served to everyone and the origin is not asked who may have it."),
    used("transship.access.shared", Kind::Bool, "false", "Everyone who reaches the cache may pull what its own \
         credentials may pull. With such credentials and an `http.addr` that is not loopback, the cache starts only \
         with this key or `auth`."),
    used("transship.access.require_token", Kind::Bool, "false", "Refuses every request for content that has no signed URL."),
    used("transship.access.keys", Kind::Text, "", "File or URL of the JWK set that signed URLs are verified with. \
         Without it: `/.well-known/jwks.json` of the origin."),
    used("transship.access.secret", Kind::Secret, "", "Secret of signed URLs with HS256, at least 32 bytes. Without it \
         they are refused."),
    live("transship.access.leeway", OR_ZERO, "30s", "How far the clocks of those who sign and of this machine may differ."),
    live("transship.access.remember", POSITIVE, "60s", "How long the origin's answer about a client counts before it is asked again."),
    live("transship.access.grace", OR_ZERO, "1h", "How long the answer counts while the origin cannot be reached; `0s` for no longer \
         than `remember`."),
    section("transship.store", "How much is kept, and how safely. See `docs/store.md`."),
    live("transship.store.bytes_max", Kind::Amount, "90%", "Most bytes that are stored. What is used least makes room."),
    live("transship.store.high_watermark", Kind::Percent, "95%", "Share of `bytes_max` above which room is made ahead of need."),
    live("transship.store.low_watermark", Kind::Percent, "90%", "Share of `bytes_max` down to which that goes."),
    live("transship.store.free_min", Kind::Amount, "1%", "What stays free on the file system, whoever takes the rest: as a share, of \
         its inodes too. Where others fill it, blobs are evicted, and then nothing more is stored."),
    live("transship.store.durability", Kind::Choice(&["none", "group", "each"]), "group", "When blobs are forced to the medium: \
         at the end only, many at once every five seconds, or each before it counts as stored."),
    live("transship.store.scrub", OR_ZERO, "720h", "Everything stored is hashed again within this time, while the disk has nothing \
         better to do; `0s` never does it."),
    live("transship.store.scrub_rate", Kind::Bytes, "32MiB", "Most bytes a second that are read for that."),
    section("transship.fill", "How blobs that are not here yet are fetched."),
    live("transship.fill.on_range", Kind::Choice(&["complete", "only"]), "complete", "What a request for a part of a blob \
         that is not here sets off: that the whole blob is fetched, that part first; or that part only."),
    section("transship.stale", "What may be served without the origin's word while it is away."),
    live("transship.stale.manifests", OR_ZERO, "0s", "How long after the origin last confirmed what a tag means it may be \
         served from here while no upstream answers; `0s` never: no image is ever outdated."),
    section("transship.server", "Limits towards clients."),
    live("transship.server.idle_timeout", POSITIVE, "75s", "Longest silence between two requests of a connection."),
    live("transship.server.head_timeout", POSITIVE, "30s", "Longest time from a request's first byte to the end of its head; as long again for a body after it."),
    live("transship.server.send_timeout", POSITIVE, "60s", "Longest time in which a client takes not one byte of a response."),
    live("transship.server.connections_max", Kind::Integer(1, 1_048_576), "16384",
        "Most client connections at once, over all cores."),
    live("transship.server.connections_per_address_max", Kind::Integer(0, 1_048_576), "4096",
        "Most client connections at once from one IPv4 address or IPv6 /64; `0` is no bound. Raise it where a load \
         balancer or NAT puts all clients behind one address."),
    section("transship.upstream", "How upstreams are chosen, and limits towards them."),
    used("transship.upstream.policy", Kind::Choice(&["round-robin", "failover", "rendezvous"]), "round-robin",
        "How several upstreams share the work: each in turn; the first that is up; or each digest at an upstream of \
         its own, for caches that share a site's blobs. See `docs/chains.md`."),
    live("transship.upstream.connect_timeout", POSITIVE, "5s", "Longest time for name resolution, TCP and TLS together."),
    live("transship.upstream.head_timeout", POSITIVE, "20s", "Longest time from a request to the head of its response. With `connect_timeout` it bounds the whole \
         wait for a first byte, tokens and redirects included; containerd itself gives up after 30 s."),
    live("transship.upstream.progress_timeout", POSITIVE, "30s", "Longest time without a byte of a response."),
    live("transship.upstream.streams_max", Kind::Integer(1, 16), "4", "Most ranges of one blob that are fetched at once in order, \
         and as many for clients that wait for parts of it. More than one in order only of large blobs, from upstreams \
         that honour ranges, and while more bring more."),
    live("transship.upstream.bandwidth", Kind::Bytes, "0", "Most bytes a second that are fetched of all upstreams \
         together, shared evenly by the fills; `0` is no bound."),
    live("transship.upstream.connections_max", Kind::Integer(0, 65_536), "256", "Most requests at once to one upstream; more \
         wait their turn. `0` is no bound."),
    used("transship.upstream.realms", Kind::Hosts, "",
        "Hosts besides an upstream's own that its credentials may be sent to when it names them as token server."),
    used("transship.upstream.client_certificate", Kind::Path, "",
        "PEM file of a certificate, followed by its intermediates, that is shown to upstreams that ask for one; \
         hosts that they redirect to are not shown it, unless they stand in `realms`. Read once, at start."),
    used("transship.upstream.client_key", Kind::Path, "", "PEM file of that certificate's private key, unencrypted."),
    section("gateway", "What `transship gateway` goes by; `transship serve` does not look at it. Of the other keys the gateway \
         reads `log`, `http.addr`, `http.host`, `http.draintimeout` and `http.tls`. See `docs/gateway.md`."),
    used("gateway.backend", Kind::Url, "", "The registry behind the gateway, as `scheme://host:port`."),
    used("gateway.username", Kind::Text, "", "User name of the gateway's own account there."),
    used("gateway.password", Kind::Secret, "", "Password of that account."),
    used("gateway.cas", Kind::Paths, "", "PEM files of authorities that backend, caches and mirrors may come from, besides the public ones."),
    used("gateway.state", Kind::Path, "", "Directory of signing keys and of the SQLite database. Without it `$STATE_DIRECTORY`, \
         `/var/lib/transship-gateway` (as root) or `$XDG_STATE_HOME/transship-gateway`."),
    used("gateway.database", Kind::Secret, "", "Where accounts' settings and caches are kept: `sqlite:PATH`, or \
         `postgres://USER:PASSWORD@HOST/DATABASE`, which several gateways may share. Without it a SQLite file in the state directory."),
    used("gateway.htpasswd", Kind::Path, "", "File of users and bcrypt hashes. Without it `htpasswd` in the state directory, which is \
         made at the first start with one user, `admin`."),
    used("gateway.policy", Kind::Path, "", "File that says who may pull and push what. Without it `policy.yml` in the state directory, \
         which is made at the first start: whoever is logged in may pull."),
    used("gateway.proxies", Kind::Networks, "", "Networks of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."),
    section("gateway.token", "Tokens that the gateway signs."),
    used("gateway.token.algorithm", Kind::Choice(&["EdDSA", "ES256"]), "EdDSA", "What they are signed with."),
    used("gateway.token.life", POSITIVE, "5m", "How long a registry token counts, and with it a right that was taken away."),
    used("gateway.token.urllife", POSITIVE, "5m", "How long a signed URL counts."),
    used("gateway.token.rotate", OR_ZERO, "720h", "How often there is a new key; `0` is never."),
    section("gateway.probe", "How the gateway sees whether caches are up."),
    used("gateway.probe.interval", POSITIVE, "10s", "Time between two looks at a cache."),
    used("gateway.probe.timeout", POSITIVE, "3s", "Longest time that one may take."),
    used("gateway.warm", Kind::Sections, "", "What caches fetch before anybody asks: at each push, and by a schedule."),
    used("gateway.warm.repository", Kind::Text, "", "Glob of repositories: `*` is within a component of a name, `**` over several."),
    used("gateway.warm.tags", Kind::Texts, "", "Globs of tags; without them all."),
    used("gateway.warm.caches", Kind::Texts, "", "Names of caches."),
    used("gateway.warm.platforms", Kind::Texts, "", "Platforms, as `linux/amd64`; without them all."),
    used("gateway.warm.schedule", Kind::Text, "", "When besides: a cron pattern in UTC, as `0 3 * * *`."),
    used("gateway.mirror", Kind::Sections, "", "Which pushed images are copied to another registry."),
    used("gateway.mirror.repository", Kind::Text, "", "Glob of repositories."),
    used("gateway.mirror.tags", Kind::Texts, "", "Globs of tags; without them all."),
    used("gateway.mirror.to", Kind::Url, "", "The other registry. A path is put before the names of repositories."),
    used("gateway.mirror.username", Kind::Text, "", "User name of the gateway's account there."),
    used("gateway.mirror.password", Kind::Secret, "", "Password of that account."),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_key_is_listed_once_and_below_a_section() {
        let paths: BTreeSet<_> = TABLE.iter().map(|key| key.path).collect();
        assert_eq!(paths.len(), TABLE.len());
        for key in TABLE {
            let Some((parent, name)) = key.path.rsplit_once('.') else {
                continue;
            };
            let parent = find(parent).unwrap_or_else(|| panic!("{} has no parent", key.path));
            assert!(
                matches!(
                    parent.kind,
                    Kind::Section | Kind::Sections | Kind::Entries | Kind::Upstreams
                ),
                "{}",
                key.path
            );
            assert_eq!(name, name.to_lowercase(), "the environment reaches it");
        }
    }

    #[test]
    fn every_key_says_something_to_the_operator() {
        for key in TABLE {
            let told = match key.treatment {
                Treatment::Ignored(reason) => reason,
                Treatment::Refused(advice) => advice,
                _ => key.doc,
            };
            assert!(!told.is_empty(), "{}", key.path);
        }
    }
}
