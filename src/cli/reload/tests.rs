//! The table of keys against what a reload does to the parts of a server.

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::{self, Applies, Kind, TABLE, Treatment};
use crate::metrics::Metrics;
use crate::server::Parts;

/// The environment's way to say a key.
fn variable(key: &str) -> String {
    let key = key.replace("middleware.registry.", "middleware.registry.0.");
    format!("REGISTRY_{}", key.replace('.', "_").to_uppercase())
}

/// An environment that names the file and says these keys.
fn env(dir: &Path, keys: &[(&str, &str)]) -> BTreeMap<String, String> {
    let shown = |name: &str| dir.join(name).display().to_string();
    let said = keys
        .iter()
        .map(|(key, value)| (variable(key), value.replace("FILE", &shown("access.log"))));
    let named = (config::PATH_VARIABLE.to_owned(), shown("config.yml"));
    said.chain([named]).collect()
}

/// A server that serves nobody.
struct Rig {
    reloader: Reloader,
    /// Kept, or its level could not be changed.
    _subscriber: Box<dyn std::any::Any>,
    dir: TempDir,
}

impl Rig {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:1'}}\n\
             middleware: {{registry: [{{name: downstream, options: {{upstreams: ['http://127.0.0.1:2']}}}}]}}\n",
            dir.path().join("storage").display()
        );
        std::fs::write(&path, text).unwrap();
        let recipe = Recipe::new(args::Options::default(), env(dir.path(), &[]));
        let effective = super::super::effective(&recipe.sources().unwrap()).unwrap();
        let settings = effective.settings;
        let metrics = Metrics::new(1);
        let (store, _house) = Store::open(&settings.store, metrics.store()).unwrap();
        let upstream = Arc::new(Upstream::new(settings.upstream.clone()).unwrap());
        let access = Access::new(
            settings.access.clone(),
            Arc::clone(&store),
            Arc::clone(&upstream),
        );
        let access = Arc::new(access.unwrap());
        let fills = Fills::new(Arc::clone(&store), Arc::clone(&upstream), settings.fill, 1);
        let fills = Arc::new(fills.unwrap());
        let access_log = AccessLog::start(None, 1, "/", metrics.log_lines_lost()).unwrap();
        let access_log = Arc::new(access_log);
        let service = Service::new(
            settings.server.clone(),
            Parts {
                store: Arc::clone(&store),
                fills: Arc::clone(&fills),
                upstream: Arc::clone(&upstream),
                access: Arc::clone(&access),
                // Its thread changes what is shown at moments of its own.
                access_log: None,
                metrics,
                open_files_per_core: 16,
            },
        );
        let parts = Reloads {
            service: Arc::new(service.unwrap()),
            store,
            upstream,
            fills,
            access,
            access_log,
            token: Arc::new(Token::empty()),
            health: Arc::new(Health::start(&settings.health, |_| {}).unwrap()),
            open_files: 1 << 21,
        };
        let (subscriber, log) = super::super::log::make(&settings.log);
        let reading = Reading {
            recipe,
            running: Running::new(&effective.values),
            log,
        };
        let reloader = Reloader::new(reading, parts, settings.access_log);
        Self {
            reloader,
            _subscriber: Box::new(subscriber),
            dir,
        }
    }

    /// Reloads with these keys besides what the file says.
    #[track_caller]
    fn with(&mut self, keys: &[(&str, &str)]) -> Reloaded {
        self.reloader.recipe.env = env(self.dir.path(), keys);
        let reloaded = self.reloader.reload();
        assert_eq!(reloaded.problems, [""; 0], "{keys:?}");
        reloaded
    }

    /// Shows all that a reload may change.
    fn shown(&self) -> String {
        let (parts, state) = (&self.reloader.parts, self.reloader.state.lock());
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?}",
            parts.health,
            parts.service,
            parts.token,
            state.access_log,
            self.reloader.log.level(),
            self.reloader.log
        )
    }
}

#[track_caller]
fn assert_same(one: &str, other: &str, what: &str) {
    let (words, others) = (one.split(' '), other.split(' '));
    let differing: Vec<_> = words.zip(others).filter(|(a, b)| a != b).take(5).collect();
    assert!(one == other, "{what}: {differing:?}");
}

/// Keys with what they are set to.
type Keys = &'static [(&'static str, &'static str)];

/// Each key that counts at once: what stands besides it, and the value that it changes to.
const SAMPLES: &[(&str, Keys, &str)] = &[
    ("log.level", &[], "trace"),
    ("log.formatter", &[], "json"),
    ("log.fields", &[], "{dc: east}"),
    ("log.accesslog.disabled", &[], "false"),
    (
        "storage.delete.enabled",
        &[("middleware.registry.options.blobttl", "1h")],
        "true",
    ),
    (
        "middleware.registry.options.blobttl",
        &[("storage.delete.enabled", "true")],
        "1h",
    ),
    ("http.draintimeout", &[], "7s"),
    ("health.file", &[], "[{file: /none, interval: 7s}]"),
    ("health.http", &[], "[{uri: 'http://a/', interval: 7s}]"),
    ("health.tcp", &[], "[{addr: 'a:1', interval: 7s}]"),
    ("transship.access_log.output", &[], "FILE"),
    ("transship.access_log.format", LOGGED, "json"),
    ("transship.access_log.rotate_size", LOGGED, "1MiB"),
    ("transship.access_log.rotate_keep", LOGGED, "3"),
    ("transship.admin.token", &[], "0123456789abcdef"),
    ("transship.access.leeway", &[], "7s"),
    ("transship.access.remember", &[], "7s"),
    ("transship.access.grace", &[], "7s"),
    ("transship.store.bytes_max", &[], "123MiB"),
    ("transship.store.high_watermark", &[], "94%"),
    ("transship.store.low_watermark", &[], "81%"),
    ("transship.store.free_min", &[], "2%"),
    ("transship.store.durability", &[], "each"),
    ("transship.store.scrub", &[], "7h"),
    ("transship.store.scrub_rate", &[], "7MiB"),
    ("transship.fill.on_range", &[], "only"),
    ("transship.stale.manifests", &[], "7s"),
    ("transship.server.idle_timeout", &[], "7s"),
    ("transship.server.head_timeout", &[], "7s"),
    ("transship.server.send_timeout", &[], "7s"),
    ("transship.server.connections_max", &[], "77"),
    ("transship.server.connections_per_address_max", &[], "7"),
    ("transship.upstream.connect_timeout", &[], "7s"),
    ("transship.upstream.head_timeout", &[], "7s"),
    ("transship.upstream.progress_timeout", &[], "7s"),
    ("transship.upstream.streams_max", &[], "7"),
    ("transship.upstream.bandwidth", &[], "7MiB"),
    ("transship.upstream.connections_max", &[], "77"),
];

const LOGGED: Keys = &[("transship.access_log.output", "FILE")];

/// Those that another sample stands for, since two spellings of one thing exclude each other.
const SAME: [&str; 1] = ["proxy.ttl"];

#[test]
fn each_key_that_counts_at_once_changes_something_and_goes_back() {
    // The document would promise what only a restart does.
    let mut rig = Rig::start();
    let mut untried: Vec<_> = TABLE
        .iter()
        .filter(|key| key.applies == Applies::AtOnce && !SAME.contains(&key.path))
        .map(|key| key.path)
        .collect();
    for (key, besides, value) in SAMPLES {
        let below = format!("{key}.");
        untried.retain(|path| path != key && !path.starts_with(&below));
        // Some say something only together with another one, without which they would be refused.
        let is_pair = besides.iter().any(|(other, _)| other.contains("blobttl"));
        rig.with(if is_pair { &[] } else { besides });
        let before = rig.shown();
        let changed: Vec<_> = besides.iter().copied().chain([(*key, *value)]).collect();
        let reloaded = rig.with(&changed);
        let told = reloaded.applied.join(" ");
        let last = key.rsplit('.').next().unwrap();
        assert!(told.contains(last), "{key}: {told:?}");
        assert_eq!(reloaded.needs_restart, [""; 0], "{key}");
        assert!(rig.shown() != before, "{key} changes nothing");
        rig.with(if is_pair { &[] } else { besides });
        assert_same(&rig.shown(), &before, key);
    }
    assert_eq!(untried, [""; 0], "keys that count at once without a sample");
}

#[test]
fn what_waits_for_a_restart_changes_nothing() {
    let mut rig = Rig::start();
    for (key, value) in [
        ("http.addr", "127.0.0.1:3"),
        ("http.prefix", "/mirror/"),
        ("http.headers", "{X-A: [b]}"),
        ("http.debug.addr", "127.0.0.1:4"),
        (
            "middleware.registry.options.upstreams",
            "['http://127.0.0.1:5']",
        ),
        ("transship.access.public", "true"),
        ("transship.cores", "1"),
        ("transship.upstream.policy", "failover"),
        ("transship.admin.socket", "/tmp/none"),
    ] {
        let before = rig.shown();
        let reloaded = rig.with(&[(key, value)]);
        assert_eq!(reloaded.applied, [""; 0], "{key}");
        assert!(!reloaded.needs_restart.is_empty(), "{key}");
        assert_same(&rig.shown(), &before, key);
        let again = rig.with(&[]);
        assert_eq!(again.needs_restart, [""; 0], "{key} is what runs again");
    }
}

#[test]
fn a_configuration_that_does_not_hold_changes_nothing_and_says_all_that_is_wrong() {
    let mut rig = Rig::start();
    let before = rig.shown();
    let bad = [
        ("transship.upstream.bandwidth", "much"),
        ("transship.store.bytes_max", "-1"),
        ("http.draintimeout", "7s"),
    ];
    rig.reloader.recipe.env = env(rig.dir.path(), &bad);
    let reloaded = rig.reloader.reload();
    assert_eq!(reloaded.problems.len(), 2, "{reloaded:?}");
    assert_eq!(
        (reloaded.applied.len(), reloaded.needs_restart.len()),
        (0, 0)
    );
    assert_same(&rig.shown(), &before, "what does not hold");
    // What can only be found out by trying: nothing else of it counts either.
    let bad = [
        ("transship.access_log.output", "/nowhere/access.log"),
        ("http.draintimeout", "7s"),
    ];
    rig.reloader.recipe.env = env(rig.dir.path(), &bad);
    let reloaded = rig.reloader.reload();
    assert!(
        reloaded.problems[0].contains("/nowhere/access.log"),
        "{reloaded:?}"
    );
    assert_same(&rig.shown(), &before, "what does not hold");
}

#[test]
fn the_table_says_at_once_only_of_what_means_something() {
    for key in TABLE.iter().filter(|key| key.applies == Applies::AtOnce) {
        assert_eq!(key.treatment, Treatment::Used, "{}", key.path);
        assert!(key.kind != Kind::Section, "{}", key.path);
    }
}
