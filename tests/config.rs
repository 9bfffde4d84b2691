//! The documented sample configurations with real files, and what is said about files that do not fit.
//!
//! Each sample is a file as the content cache's documents have it; the tests put a folder of their own in
//! place of its absolute paths, host names in place of its placeholders, and certificates of their own
//! making in the folder.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test's helpers fail as the test does"
)]

#[path = "config/logins.rs"]
mod logins;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;
use transship::config::{self, Effective, Failure, Remark, Sources};
use transship::server::TlsVersion;

/// A folder with every file that the samples name.
struct Machine {
    folder: TempDir,
}

/// Names of the samples' server certificates, each with the name of its key.
const SERVERS: [(&str, &str); 5] = [
    ("certs/dtr-cache-ca.pem", "certs/dtr-cache-key.pem"),
    ("certs/asia-ca.pem", "certs/asia-key.pem"),
    ("certs/china-ca.pem", "certs/china-key.pem"),
    ("certs/cache.cert.pem", "certs/cache.key.pem"),
    ("run/secrets/cache.cert.pem", "run/secrets/cache.key.pem"),
];

/// Names of the samples' authorities.
const AUTHORITIES: [&str; 4] = [
    "certs/dtr-ca.pem",
    "certs/asia-cache-ca.pem",
    "certs/dtr.cert.pem",
    "run/secrets/dtr.cert.pem",
];

/// Returns a certificate valid from the first of January of one year to that of another, and its key.
fn certificate(from: i32, to: i32) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["cache.example.org".to_owned()]).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir_all(machine.path("certs")).unwrap();
        std::fs::create_dir_all(machine.path("run/secrets")).unwrap();
        for (name, key_name) in SERVERS {
            let (certificate, key) = certificate(2000, 4000);
            machine.write(name, &certificate);
            machine.write(key_name, &key);
        }
        for name in AUTHORITIES {
            machine.write(name, &certificate(2000, 4000).0);
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    /// Returns the text of a sample for this machine.
    fn sample(&self, name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/samples");
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        let here = self.folder.path().display().to_string();
        [
            ("<dtr-url>", "dtr.example.org"),
            ("<dtr-port>", "8443"),
            ("<asia-cache-url>", "asia.example.org"),
            ("<cache-url>", "cache.example.org"),
            ("<external-fqdn-dtrcache>", "cache.example.org"),
            ("/certs/", &format!("{here}/certs/")),
            ("/run/secrets/", &format!("{here}/run/secrets/")),
            ("/var/lib/registry", &format!("{here}/registry")),
        ]
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to))
    }

    fn load(&self, text: &str) -> Result<Effective, Failure> {
        let sources = Sources {
            file: Some((self.path("config.yml"), text.to_owned())),
            ..Sources::default()
        };
        let mut effective = config::load(&sources)?;
        effective.lint(SystemTime::now())?;
        Ok(effective)
    }

    /// Loads a sample and asserts what all samples have in common.
    fn load_sample(&self, name: &str) -> Effective {
        let effective = self
            .load(&self.sample(name))
            .unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let store = &effective.settings.store;
        assert_eq!(store.root, self.path("registry"), "{name}");
        assert_eq!(
            store.blob_ttl,
            Some(Duration::from_secs(24 * 3600)),
            "{name}"
        );
        assert!(!store.root.exists(), "loading makes nothing");
        effective
    }
}

fn hops(effective: &Effective) -> Vec<String> {
    let hops = &effective.settings.upstream.hops;
    hops.iter()
        .map(|hop| match &hop.origin {
            Some(origin) => format!("{} for {origin}", hop.url),
            None => hop.url.to_string(),
        })
        .collect()
}

fn warnings(effective: &Effective) -> Vec<String> {
    effective.warnings.iter().map(Remark::to_string).collect()
}

#[test]
fn the_simple_sample_caches_from_the_origin_over_plain_http() {
    let machine = Machine::new();
    for name in ["simple.yml", "simple-2.2.yml"] {
        let effective = machine.load_sample(name);
        assert_eq!(hops(&effective), ["https://dtr.example.org/"], "{name}");
        assert_eq!(
            effective.settings.upstream.cas,
            [machine.path("certs/dtr-ca.pem")]
        );
        assert_eq!(effective.settings.server.listen.to_string(), ":5000");
        assert_eq!(effective.settings.server.tls, None);
        assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
    }
}

#[test]
fn the_tls_sample_serves_its_certificate_to_everyone() {
    let machine = Machine::new();
    let effective = machine.load_sample("tls.yml");
    let tls = effective.settings.server.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, machine.path("certs/dtr-cache-ca.pem"));
    assert_eq!(tls.key, machine.path("certs/dtr-cache-key.pem"));
    assert!(tls.client_cas.is_empty());
    assert_eq!(tls.minimum, TlsVersion::Tls12);
    assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
}

#[test]
fn the_chained_samples_ask_the_next_cache_and_know_its_origin() {
    let machine = Machine::new();
    let next_hop = machine.load_sample("chained.yml");
    assert_eq!(hops(&next_hop), ["https://asia.example.org/"]);
    assert_eq!(
        next_hop.settings.upstream.cas,
        [machine.path("certs/asia-cache-ca.pem")]
    );

    let asia = machine.load_sample("chained-2.2-asia.yml");
    assert_eq!(hops(&asia), ["https://dtr.example.org/"]);
    let tls = asia.settings.server.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, machine.path("certs/asia-ca.pem"));

    let china = machine.load_sample("chained-2.2-china.yml");
    assert_eq!(
        hops(&china),
        ["https://asia.example.org/ for https://dtr.example.org/"]
    );
    assert_eq!(
        china.settings.upstream.cas,
        [
            machine.path("certs/asia-cache-ca.pem"),
            machine.path("certs/dtr-ca.pem")
        ]
    );
}

#[test]
fn the_swarm_and_kubernetes_samples_listen_on_443() {
    let machine = Machine::new();
    for (name, upstream) in [
        ("swarm.yml", "https://dtr.example.org:8443/"),
        ("kubernetes.yml", "https://dtr.example.org/"),
    ] {
        let effective = machine.load_sample(name);
        assert_eq!(hops(&effective), [upstream], "{name}");
        assert_eq!(effective.settings.server.listen.to_string(), "0.0.0.0:443");
        assert!(effective.settings.server.tls.is_some());
        let said = warnings(&effective);
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("http.secret: ignored"), "{said:?}");
        assert!(said[1].contains("http.host: ignored"), "{said:?}");
        assert!(!format!("{:?}", effective.values).contains("generate-random-secret"));
    }
}

#[test]
fn the_options_sample_means_what_it_says_once_it_is_filled_in() {
    let machine = Machine::new();
    let text = machine.sample("options.yml");
    let said = machine.load(&text).unwrap_err().to_string();
    assert!(said.contains("in place of the placeholder"), "{said}");
    let start = text.find("<Externally").unwrap();
    let end = text[start..].find('\n').unwrap() + start;
    let text = text.replace(&text[start..end], "http://cache.example.org:5000");
    let start = text.find("<Absolute").unwrap();
    let end = text[start..].find('\n').unwrap() + start;
    let authority = machine.path("certs/dtr-ca.pem").display().to_string();
    let effective = machine
        .load(&text.replace(&text[start..end], &authority))
        .unwrap();
    assert_eq!(hops(&effective), ["http://cache.example.org:5000/"]);
}

#[test]
fn every_sample_is_tested() {
    let tested = [
        "chained-2.2-asia.yml",
        "chained-2.2-china.yml",
        "chained.yml",
        "kubernetes.yml",
        "options.yml",
        "simple-2.2.yml",
        "simple.yml",
        "swarm.yml",
        "tls.yml",
    ];
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/samples");
    let mut found: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, tested);
}

/// A file with TLS for clients and upstreams; line 6 is the certificate, 7 the key, 8 the clients'
/// authority, 13 the upstream's.
const TLS: &str = "version: 0.1
storage: {delete: {enabled: true}, filesystem: {rootdirectory: /var/lib/registry}}
http:
  addr: :5000
  tls:
    certificate: /certs/cache.cert.pem
    key: /certs/cache.key.pem
    clientcas: [/certs/dtr.cert.pem]
middleware:
  registry:
    - name: downstream
      options:
        cas: [/certs/dtr-ca.pem]
        upstreams: [https://dtr.example.org]
";

impl Machine {
    fn tls(&self) -> String {
        let here = self.folder.path().display();
        TLS.replace("/certs/", &format!("{here}/certs/"))
            .replace("/var/lib/registry", &format!("{here}/registry"))
    }

    /// Returns what is said about the TLS file when the file `name` holds `text`; without a text, when it
    /// is missing.
    fn said_of(&self, name: &str, text: Option<&str>) -> String {
        match text {
            Some(text) => self.write(name, text),
            None => std::fs::remove_file(self.path(name)).unwrap(),
        }
        let failure = self.load(&self.tls()).unwrap_err();
        assert_eq!(failure.problems.len(), 1, "{failure}");
        failure.to_string()
    }
}

#[test]
fn a_file_that_is_missing_is_told_with_its_line() {
    for (name, place) in [
        ("certs/cache.cert.pem", ":6:18: http.tls.certificate: "),
        ("certs/cache.key.pem", ":7:10: http.tls.key: "),
        ("certs/dtr.cert.pem", ":8:17: http.tls.clientcas[0]: "),
        (
            "certs/dtr-ca.pem",
            ":13:15: middleware.registry[0].options.cas[0]: ",
        ),
    ] {
        let said = Machine::new().said_of(name, None);
        assert!(
            said.contains(place) && said.contains("No such file"),
            "{said}"
        );
    }
}

#[test]
fn a_file_that_does_not_hold_what_it_should_is_told() {
    let (certificate, key) = certificate(2000, 4000);
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let broken = certificate.replacen('M', "!", 1);
    let cut = &certificate[..certificate.len() / 2];
    let hollow = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text, told) in [
        ("certs/cache.cert.pem", "", "holds no PEM certificate"),
        (
            "certs/cache.cert.pem",
            key.as_str(),
            "holds no PEM certificate",
        ),
        ("certs/cache.cert.pem", &broken, "is not a PEM file"),
        ("certs/cache.cert.pem", cut, "a section has no END line"),
        (
            "certs/cache.cert.pem",
            hollow,
            "is not an X.509 certificate",
        ),
        (
            "certs/dtr-ca.pem",
            "no certificate",
            "holds no PEM certificate",
        ),
        ("certs/dtr.cert.pem", hollow, "is not an X.509 certificate"),
        (
            "certs/cache.key.pem",
            &certificate,
            "holds no PEM private key",
        ),
        ("certs/cache.key.pem", &encrypted, "holds an encrypted key"),
        (
            "certs/cache.key.pem",
            &key,
            "is not the key of http.tls.certificate",
        ),
    ] {
        let said = Machine::new().said_of(name, Some(text));
        assert!(said.contains(told), "{name}: {told}: {said}");
    }
}

#[test]
fn a_key_in_a_broken_file_is_not_printed() {
    let (_, key) = certificate(2000, 4000);
    let broken = key.replacen("-----END", "----END", 1);
    let said = Machine::new().said_of("certs/cache.key.pem", Some(&broken));
    let secret = key.lines().nth(1).unwrap();
    assert!(
        !said.contains(secret) && said.contains("no END line"),
        "{said}"
    );
}

/// Of X.509 version 1, as `openssl x509 -req` makes it without extensions.
const VERSION_1: &str = "-----BEGIN CERTIFICATE-----
MIIBLDCB0wIUNvLone3Ib+K7Ps2TQNVSC7c34GwwCgYIKoZIzj0EAwIwGDEWMBQG
A1UEAwwNY2FjaGUuZXhhbXBsZTAgFw0yNjExMjExMjEyNDVaGA8yMTI2MTAyODEy
MTI0NVowGDEWMBQGA1UEAwwNY2FjaGUuZXhhbXBsZTBZMBMGByqGSM49AgEGCCqG
SM49AwEHA0IABL855lD7OXj/7kwdW18aOq/qhORxcvY04dNx9BnNg4ogsaQVzHba
lcW33s3QxmJVsfAS485qKUMum5y3c10uQkIwCgYIKoZIzj0EAwIDSAAwRQIgKiO2
N5KbZ9/+e40yNtbb/uAqhRCNop+qstfVWOAIOAQCIQDIn1vz2Fo3d34Jj5INsR3e
vgyMlyHOx/CEVI8CN/Zo9g==
-----END CERTIFICATE-----
";

#[test]
fn a_certificate_of_version_1_is_told_as_what_it_is() {
    // It used to be told that its key is not its own, which sends people looking in the wrong place.
    let said = Machine::new().said_of("certs/cache.cert.pem", Some(VERSION_1));
    assert!(said.contains(":6:18: http.tls.certificate: "), "{said}");
    assert!(
        said.contains("is of X.509 version 1, which cannot name who it is for"),
        "{said}"
    );
    // An authority may be as old as it likes.
    let machine = Machine::new();
    machine.write("certs/dtr.cert.pem", VERSION_1);
    machine.write("certs/dtr-ca.pem", VERSION_1);
    machine.load(&machine.tls()).unwrap();
}

#[test]
fn the_certificate_for_upstreams_is_looked_at_as_that_for_clients() {
    let machine = Machine::new();
    let ((certificate, key), (_, other)) = (certificate(2000, 4000), certificate(2000, 4000));
    machine.write("certs/own.cert.pem", &certificate);
    let own = |key: &str| {
        machine.write("certs/own.key.pem", key);
        let at = |name: &str| machine.path(name).display().to_string();
        format!(
            "{}transship:\n  upstream:\n    client_certificate: {}\n    client_key: {}\n",
            machine.tls(),
            at("certs/own.cert.pem"),
            at("certs/own.key.pem")
        )
    };
    let effective = machine.load(&own(&key)).unwrap();
    assert!(effective.settings.upstream.client_certificate.is_some());
    let said = machine.load(&own(&other)).unwrap_err().to_string();
    assert!(
        said.contains(":18:17: transship.upstream.client_key: ")
            && said.contains(
                "is not the key of transship.upstream.client_certificate's first certificate"
            ),
        "{said}"
    );
}

#[test]
fn a_certificate_out_of_its_time_is_a_warning() {
    let machine = Machine::new();
    let (expired, key) = certificate(2000, 2001);
    machine.write("certs/cache.cert.pem", &expired);
    machine.write("certs/cache.key.pem", &key);
    machine.write("certs/dtr-ca.pem", &certificate(3000, 3001).0);
    let said = warnings(&machine.load(&machine.tls()).unwrap());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains(":6:18: http.tls.certificate: "),
        "{said:?}"
    );
    assert!(said[0].contains("expired on Jan  1"), "{said:?}");
    assert!(said[1].contains("is not valid before Jan  1"), "{said:?}");
}

#[test]
fn a_root_directory_that_cannot_be_made_is_an_error() {
    let machine = Machine::new();
    machine.write("registry", "a file");
    for below in ["", "/below/it"] {
        let text = machine
            .tls()
            .replace("/registry}", &format!("/registry{below}}}"));
        let said = machine.load(&text).unwrap_err().to_string();
        assert!(
            said.contains(":2:64: storage.filesystem.rootdirectory: ")
                && said.contains("is not a directory"),
            "{said}"
        );
    }
}

#[test]
fn check_exits_with_0_or_1_and_serves_nobody() {
    let machine = Machine::new();
    machine.write("config.yml", &machine.sample("tls.yml"));
    let check = |key: &str, value: &str| {
        Command::new(env!("CARGO_BIN_EXE_transship"))
            .arg("check")
            .env_clear()
            .env("REGISTRY_CONFIGURATION_PATH", machine.path("config.yml"))
            .env(key, value)
            .output()
            .unwrap()
    };
    let good = check("REGISTRY_HTTP_ADDR", ":443");
    let out = String::from_utf8(good.stdout).unwrap();
    assert_eq!(good.status.code(), Some(0), "{out}");
    assert!(out.contains("env REGISTRY_HTTP_ADDR"), "{out}");
    assert!(out.ends_with("The configuration holds.\n"), "{out}");
    let bad = check("REGISTRY_HTTP_TLS_KEY", "/no/such/key");
    let out = String::from_utf8(bad.stdout).unwrap();
    assert_eq!(bad.status.code(), Some(1), "{out}");
    assert!(
        out.contains("error: env REGISTRY_HTTP_TLS_KEY: http.tls.key: /no/such/key cannot be read"),
        "{out}"
    );
}
