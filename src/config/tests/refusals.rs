//! What is refused, ignored or unknown, and what is said about it.

use super::*;

/// What a file may say that would mean something else here, and what it is told.
const REFUSED: &[(&str, &str)] = &[
    (
        "storage: {s3: {bucket: b, secretkey: hunter2}}",
        "use storage.filesystem",
    ),
    ("storage: {azure: {}}", "use storage.filesystem"),
    ("storage: {gcs: {}}", "use storage.filesystem"),
    ("storage: {swift: {}}", "use storage.filesystem"),
    ("storage: {oss: {}}", "use storage.filesystem"),
    ("storage: inmemory", "use storage.filesystem"),
    (
        "storage: {filesystem: {}, inmemory:}",
        "use storage.filesystem",
    ),
    (
        "storage: {ceph: {}}",
        "no such storage driver: use storage.filesystem",
    ),
    (
        "storage: {maintenance: {readonly: {enabled: true}}}",
        "\"true\" is not supported",
    ),
    (
        "redis: {addr: 'redis:6379', password: hunter2}",
        "remove the section",
    ),
    ("auth: {silly:}", "use auth.htpasswd or auth.token"),
    ("auth: silly", "use auth.htpasswd or auth.token"),
    (
        "auth: {ldap: {password: hunter2}}",
        "no such authentication here: use auth.htpasswd or auth.token",
    ),
    (
        "http: {net: unix}",
        "\"unix\" is not supported: clients are served over TCP",
    ),
    (
        "http: {tls: {letsencrypt: {email: e}}}",
        "give http.tls.certificate and http.tls.key",
    ),
    (
        "http: {tls: {minimumtls: tls1.0}}",
        "want tls1.2, which is the lowest",
    ),
    (
        "http: {tls: {minimumtls: tls1.1}}",
        "want tls1.2, which is the lowest",
    ),
    (
        "http: {tls: {clientauth: no-client-cert}}",
        "want request-client-cert, require-any-client-cert, verify-client-cert-if-given, require-and",
    ),
    (
        "http: {tls: {ciphersuites: [TLS_RSA_WITH_AES_128_CBC_SHA]}}",
        "\"TLS_RSA_WITH_AES_128_CBC_SHA\" is not accepted: want a suite with forward secrecy and AEAD, \
         one of TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, ",
    ),
    (
        "http: {tls: {ciphersuites: TLS_AES_128_GCM_SHA256}}",
        "want a list of cipher suites",
    ),
    (
        "transship: {upstream: {client_certificate: /c}}",
        "give transship.upstream.client_key",
    ),
    (
        "transship: {upstream: {client_key: /k}}",
        "give transship.upstream.client_certificate",
    ),
    ("http: {tls: {certificate: /c}}", "give http.tls.key"),
    ("http: {tls: {key: /k}}", "give http.tls.certificate"),
    (
        "http: {tls: {clientcas: [/ca]}}",
        "needs http.tls.certificate",
    ),
    (
        "middleware: {registry: [{name: other}]}",
        "no such middleware here",
    ),
    (
        "middleware: {registry: [{options: {}}]}",
        "want name: downstream",
    ),
    (
        "middleware: {repository: [{name: r}]}",
        "set disabled: true",
    ),
    (
        "middleware: {storage: [{name: cloudfront}]}",
        "set disabled: true",
    ),
    (
        "middleware: {registry: {name: downstream}}",
        "want a list of - name",
    ),
    (
        "proxy: {remoteurl: https://r.example, exec: {command: c}}",
        "credential helpers are not run",
    ),
];

#[test]
fn what_would_change_the_meaning_in_silence_is_refused() {
    for (text, told) in REFUSED {
        let said = refused(&format!("{V}{text}\n"));
        assert!(said.starts_with("config.yml:2:"), "{text}: {said}");
        assert!(said.contains(told), "{text}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn middleware_that_is_disabled_is_no_error() {
    let effective = loaded(
        "version: 0.1\nmiddleware:\n  storage: [{name: cloudfront, disabled: true}]\n  repository: [{name: r, disabled: yes}]\n  registry: [{name: other, disabled: true}, {name: downstream, disabled: true}]\n",
    );
    assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
}

#[test]
fn keys_without_meaning_here_leave_one_warning_each_with_their_line() {
    let effective = loaded(
        "version: 0.1\nlog: {hooks: [{type: mail}]}\nhttp:\n  host: https://cache.example\n  secret: hunter2\n  relativeurls: true\n  http2: {disabled: true}\n  debug: {prometheus: {enabled: false}}\nhealth: {storagedriver: {enabled: true, interval: 10s}}\nnotifications: {endpoints: [{name: a, url: b}]}\nreporting: {bugsnag: {apikey: hunter2}}\ncatalog: {maxentries: 5}\nstorage:\n  cache: {blobdescriptor: inmemory}\n  filesystem: {maxthreads: 50}\n  maintenance: {uploadpurging: {enabled: true}}\nredis:\n",
    );
    let said = warnings(&effective);
    let lines: Vec<_> = said
        .iter()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        lines,
        [
            "config.yml:2:7 log.hooks",
            "config.yml:4:3 http.host",
            "config.yml:5:3 http.secret",
            "config.yml:6:3 http.relativeurls",
            "config.yml:7:3 http.http2",
            "config.yml:8:33 http.debug.prometheus.enabled",
            "config.yml:9:41 health.storagedriver.interval",
            "config.yml:10:1 notifications",
            "config.yml:11:1 reporting",
            "config.yml:12:1 catalog",
            "config.yml:14:3 storage.cache",
            "config.yml:15:16 storage.filesystem.maxthreads",
            "config.yml:16:17 storage.maintenance.uploadpurging",
        ]
    );
    assert!(said.iter().all(|line| !line.contains("hunter2")));
}

#[test]
fn an_unknown_key_is_a_warning_outside_of_transship_and_an_error_inside() {
    let effective = loaded("version: 0.1\nhttp: {adr: ':80'}\nwhatever: 1\nhttp.addr: ':81'\n");
    assert_eq!(
        warnings(&effective),
        [
            "config.yml:2:8: http.adr: unknown key, ignored here as by the registry; did you mean http.addr?",
            "config.yml:3:1: whatever: unknown key, ignored here as by the registry",
            "config.yml:4:1: http.addr: unknown key, ignored here as by the registry",
        ]
    );
    assert_eq!(effective.settings.server.listen.to_string(), ":5000");
    let said = refused("version: 0.1\ntransship: {core: 2, server: {idle_time: 1s}}\n");
    assert!(said.contains("transship.core: unknown key; did you mean transship.cores?"));
    assert!(said.contains("transship.server.idle_time: unknown key"));
}

#[test]
fn every_independent_error_is_reported_at_once() {
    let said = refused(
        "http: {addr: 5000, prefix: x}\nlog: {level: loud, formatter: xml}\nstorage: {s3: {}}\ntransship: {cores: 0}\nproxy: {remoteurl: a.example}\n",
    );
    for told in [
        "config.yml:1:1: version: missing",
        "config.yml:1:14: http.addr: \"5000\" is not accepted: want :PORT",
        "http.prefix: \"x\" is not accepted: want a path that begins and ends with a slash",
        "log.level: \"loud\" is not accepted: want error, warn, info, debug, trace",
        "log.formatter: \"xml\" is not accepted: want text, json, logstash",
        "storage.s3: not supported",
        "transship.cores: \"0\" is not accepted: want a whole number from 1 to 1024",
        "proxy.remoteurl: \"a.example\" is not accepted: want https:// before it",
    ] {
        assert!(said.contains(told), "{told}\n in\n{said}");
    }
    assert_eq!(said.lines().count(), 8, "{said}");
}

#[test]
fn the_version_is_required_and_must_be_known() {
    assert!(refused("http: {}\n").contains("version: missing"));
    assert!(refused("").contains("version: missing"));
    assert!(refused("version: 0.2\n").contains("\"0.2\" is not accepted: want 0.1"));
    assert!(refused("- version\n").contains("want a map that begins with version: 0.1"));
    for text in [
        "version: '0.1'\n",
        "---\nversion: 0.1\n",
        "---\nversion: 0.1\n...\n",
        "\u{feff}version: 0.1\n",
        "version: 0.1\r\nhttp:\r\n  addr: :80\r\n",
        "{version: 0.1}",
    ] {
        loaded(text);
    }
}

#[test]
fn a_header_that_would_break_responses_is_refused() {
    for (header, told) in [
        ("Content-Length: ['1']", "the server computes this field"),
        (
            "transfer-encoding: [chunked]",
            "the server computes this field",
        ),
        ("Connection: [close]", "the server computes this field"),
        ("'X Y': [a]", "not a field name"),
        (
            "X-A: [\"a\\r\\nSet-Cookie: b\"]",
            "on one line, without control characters",
        ),
        ("X-A: [\"a\\0\"]", "on one line, without control characters"),
        ("X-A: b", "each with a list of values"),
        ("X-A: [[b]]", "want a field value"),
    ] {
        let said = refused(&format!("{V}http:\n  headers:\n    {header}\n"));
        assert!(said.contains(told), "{header}: {said}");
    }
}

#[test]
fn a_path_prefix_that_no_request_could_have_is_refused() {
    for prefix in [
        "mirror", "/mirror", "mirror/", "//", "/a//b/", "/../", "/a b/", "/?/", "/%2f/",
    ] {
        let said = refused(&format!("{V}http: {{prefix: '{prefix}'}}\n"));
        assert!(
            said.contains("begins and ends with a slash"),
            "{prefix}: {said}"
        );
    }
    assert!(
        refused(&format!(
            "{V}http: {{debug: {{prometheus: {{path: /healthz}}}}}}\n"
        ))
        .contains("other than")
    );
}
