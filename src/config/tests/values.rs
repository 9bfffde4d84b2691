//! What the keys of each section mean.

use std::time::Duration;

use super::*;
use crate::server::TlsVersion;
use crate::upstream::Policy;

#[test]
fn without_a_file_the_defaults_hold() {
    let effective = load(&Sources::default()).unwrap();
    let settings = &effective.settings;
    assert_eq!(settings.server.listen.to_string(), ":5000");
    assert_eq!(settings.admin.listen.unwrap().to_string(), "127.0.0.1:5001");
    assert_eq!(settings.admin.metrics_path, "/metrics");
    assert_eq!(settings.store.root, PathBuf::from("/var/lib/transship"));
    assert_eq!(settings.store.blob_ttl, None);
    assert_eq!(
        settings.upstream.hops[0].url.as_str(),
        "https://registry-1.docker.io/"
    );
    assert_eq!(settings.server.prefix, "/");
    assert_eq!(settings.server.drain_timeout, Duration::from_secs(30));
    assert_eq!(settings.server.idle_timeout, Duration::from_secs(75));
    assert_eq!(settings.server.head_timeout, Duration::from_secs(30));
    assert_eq!(settings.server.send_timeout, Duration::from_secs(60));
    assert_eq!(settings.server.connections_max, 16_384);
    let per_address = settings.server.connections_per_address_max;
    assert_eq!(per_address.map(usize::from), Some(4096));
    assert_eq!(settings.upstream.connect_timeout, Duration::from_secs(5));
    assert_eq!(settings.upstream.head_timeout, Duration::from_secs(20));
    assert_eq!(settings.upstream.progress_timeout, Duration::from_secs(30));
    assert_eq!(settings.log.level, LogLevel::Info);
    assert_eq!(settings.cores, None);
    assert!(effective.warnings.is_empty());
    assert!(effective.values.iter().all(|v| v.origin == Origin::Default));
}

#[test]
fn blobs_go_where_the_service_manager_or_the_user_keeps_state() {
    for (env, is_root, root) in [
        (
            &[("STATE_DIRECTORY", "/s/a:/s/b"), ("HOME", "/h")][..],
            true,
            "/s/a",
        ),
        (
            &[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")],
            false,
            "/x/transship",
        ),
        (&[("HOME", "/h")], false, "/h/.cache/transship"),
        (
            &[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")],
            false,
            "/h/.cache/transship",
        ),
        (
            &[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")],
            true,
            "/var/lib/transship",
        ),
        (&[], false, "/var/lib/transship"),
    ] {
        let sources = Sources {
            is_root,
            ..with_env(V, env)
        };
        let effective = load(&sources).unwrap();
        assert_eq!(
            effective.settings.store.root,
            PathBuf::from(root),
            "{env:?}"
        );
    }
}

#[test]
fn values_of_the_http_section_reach_the_server() {
    let effective = loaded(
        "version: 0.1\nhttp:\n  addr: '[::1]:443'\n  net: tcp\n  prefix: /mirror/\n  draintimeout: 0\n  headers: {X-Content-Type-Options: [nosniff], X-A: [b, c]}\n  tls: {certificate: /c, key: /k, clientcas: [/a, /b], minimumtls: tls1.3, clientauth: require-and-verify-client-cert}\n  debug: {addr: ':9090', prometheus: {enabled: true, path: /m}}\n",
    );
    let server = &effective.settings.server;
    assert_eq!(server.listen.to_string(), "[::1]:443");
    assert_eq!(server.prefix, "/mirror/");
    assert_eq!(server.drain_timeout, Duration::ZERO);
    let headers: Vec<_> = server
        .headers
        .iter()
        .map(|(n, v)| format!("{n}: {v}"))
        .collect();
    assert_eq!(
        headers,
        ["X-Content-Type-Options: nosniff", "X-A: b", "X-A: c"]
    );
    let tls = server.tls.as_ref().unwrap();
    assert_eq!(tls.minimum, TlsVersion::Tls13);
    assert_eq!(tls.client_cas.len(), 2);
    let admin = &effective.settings.admin;
    assert_eq!(admin.listen.unwrap().to_string(), ":9090");
    assert_eq!(admin.metrics_path, "/m");
    assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
    let off = loaded("version: 0.1\nhttp: {debug: {addr: off}}\n");
    assert_eq!(off.settings.admin.listen, None);
}

#[test]
fn the_log_section_is_read_and_its_old_level_too() {
    let effective = loaded(
        "version: 0.1\nlog: {level: debug, formatter: logstash, fields: {service: cache, n: 1}}\nloglevel: error\n",
    );
    let log = &effective.settings.log;
    assert_eq!(log.level, LogLevel::Debug);
    assert_eq!(log.formatter, LogFormatter::Logstash);
    assert_eq!(log.fields["service"], "cache");
    assert_eq!(log.fields["n"], "1");
    let old = loaded("version: 0.1\nloglevel: error\n");
    assert_eq!(old.settings.log.level, LogLevel::Error);
    assert_eq!(
        warnings(&old),
        ["config.yml:2:1: loglevel: old name: write log.level"]
    );
}

#[test]
fn our_own_section_is_read_strictly() {
    let effective = loaded(
        "version: 0.1\ntransship:\n  cores: 4\n  server: {idle_timeout: 10s, head_timeout: 5s, send_timeout: 1m, connections_max: 100, connections_per_address_max: 0}\n  upstream: {connect_timeout: 3s, head_timeout: 4s, progress_timeout: 5s, policy: rendezvous, realms: [auth.example, 'T.example:8443']}\n",
    );
    let settings = &effective.settings;
    assert_eq!(settings.cores, Some(4));
    assert_eq!(settings.server.connections_max, 100);
    assert_eq!(settings.server.connections_per_address_max, None);
    assert_eq!(settings.server.send_timeout, Duration::from_secs(60));
    assert_eq!(settings.upstream.connect_timeout, Duration::from_secs(3));
    assert_eq!(settings.upstream.policy, Policy::Rendezvous);
    assert_eq!(settings.upstream.realms, ["auth.example", "t.example:8443"]);
    for (text, told) in [
        ("cores: 1025", "from 1 to 1024"),
        ("cores: many", "from 1 to 1024"),
        ("server: {idle_timeout: 75}", "above zero with its unit"),
        ("server: {idle_timeout: 0s}", "above zero with its unit"),
        ("server: {connections_max: 0}", "from 1 to"),
        (
            "upstream: {realms: [https://a.example/]}",
            "want a host name",
        ),
        ("upstream: {realms: a.example}", "want a list of host names"),
        ("upstream: 5", "want a section with policy, connect_timeout"),
        ("upstream: {policy: random}", "round-robin, failover"),
    ] {
        let said = refused(&format!("{V}transship: {{{text}}}\n"));
        assert!(said.contains(told), "{text}: {said}");
    }
}

#[test]
fn every_default_of_the_table_is_accepted_when_it_is_written_down() {
    for key in TABLE {
        let section = matches!(key.kind, Kind::Upstreams | Kind::Section);
        let is_of_list = key.path.contains("middleware")
            || key.path.matches('.').count() == 2
                && key.path.starts_with("health.")
                && !key.path.contains("storagedriver");
        // A key of a login chooses that login, which lacks its other parts then.
        let chooses = key.path.starts_with("auth.");
        if key.default.is_empty() || section || chooses || is_of_list {
            continue;
        }
        let mut text = format!("'{}'", key.default);
        for name in key.path.rsplit('.') {
            text = format!("{{{name}: {text}}}");
        }
        let file = format!("version: 0.1\n{}\n", &text[1..text.len() - 1]);
        let effective = loaded(&file);
        assert!(
            effective.warnings.is_empty(),
            "{}: {:?}",
            key.path,
            effective.warnings
        );
        let written = effective.settings.clone();
        let bare = loaded(V).settings;
        assert_eq!(written, bare, "{}", key.path);
    }
}

#[test]
fn health_checks_are_read_as_the_registry_writes_them() {
    use crate::health::{Check, Target};

    let effective = loaded(
        "version: 0.1\nhealth:\n  storagedriver: {enabled: true}\n  file: [{file: /down, interval: 5s}]\n  \
         http:\n    - uri: https://a.example/x\n      headers: {X-A: [b]}\n      statuscode: 204\n      \
         threshold: 3\n  tcp: [{addr: 'b:1', timeout: 2s}]\n",
    );
    assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
    let checks = &effective.settings.health.checks;
    let [file, http, tcp] = &checks[..] else {
        panic!("{checks:?}");
    };
    // A field may be a password.
    let row = effective
        .values
        .iter()
        .find(|value| value.key == "health.http[0].headers.X-A[0]");
    assert_eq!(row.map(|row| row.value.as_str()), Some("(hidden)"));
    let said = refused(&format!(
        "{V}health: {{http: [{{uri: 'http://a/', headers: {{X-A: [\"s3cret\\n\"]}}}}]}}\n"
    ));
    assert!(
        said.contains("one line") && !said.contains("s3cret"),
        "{said}"
    );
    let seconds = Duration::from_secs;
    assert_eq!(file.target, Target::File("/down".into()));
    assert_eq!(file.interval, seconds(5));
    let uri = "https://a.example/x".parse().unwrap();
    let headers = vec![("X-A".to_owned(), "b".to_owned())];
    let status = 204;
    let target = Target::Http {
        uri,
        headers,
        status,
    };
    let (interval, timeout) = (seconds(10), seconds(5));
    assert_eq!(
        *http,
        Check {
            target,
            interval,
            timeout,
            threshold: 3
        }
    );
    assert_eq!((tcp.timeout, tcp.threshold), (seconds(2), 1));
    for (text, told) in [
        ("file: [{file: here}]", "absolute path"),
        ("file: [{interval: 5s}]", "absolute path"),
        ("file: /down", "want a list of maps"),
        ("tcp: [a]", "want a map with addr"),
        ("http: [{uri: 'ftp://a'}]", "an address such as"),
        ("http: [{uri: 'http://a:b@c/'}]", "an address such as"),
        ("http: [{uri: 'http://a/', statuscode: 20}]", "from 100 to"),
        ("tcp: [{addr: a}]", "HOST:PORT"),
    ] {
        let said = refused(&format!("{V}health: {{{text}}}\n"));
        assert!(said.contains(told), "{text}: {said}");
    }
}
