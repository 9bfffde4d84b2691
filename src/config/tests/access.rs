//! Who may pull: what each key means, which of them contradict each other, and accounts on open addresses.

use std::time::Duration;

use super::*;
use crate::access::{Door, KeySource, Rights};
use crate::auth::Secret;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ACCOUNT: &str = "proxy: {remoteurl: https://r.example, username: u, password: hunter2}\n";
const HTPASSWD: &str = "auth: {htpasswd: {realm: Cache, path: /p}}\n";
const TOKEN: &str =
    "auth: {token: {realm: https://t.example/token, service: s, issuer: i, jwks: /j}}\n";
const LOCAL: &str = "http: {addr: '127.0.0.1:80'}\n";

fn access(keys: &str) -> String {
    format!("transship: {{access: {{{keys}}}}}\n")
}

#[track_caller]
fn options(text: &str) -> crate::access::Options {
    loaded(&format!("{V}{text}")).settings.access
}

#[test]
fn by_default_each_client_has_its_own_rights() {
    let access = options("");
    assert_eq!(access.rights, Rights::Client);
    assert_eq!(access.door, None);
    assert!(!access.require_token);
    assert_eq!(access.keys, None);
    assert_eq!(access.secret, None);
    assert_eq!(access.leeway, Duration::from_secs(30));
    assert_eq!(access.remember, Duration::from_secs(60));
    assert_eq!(access.grace, Duration::from_secs(3600));
    assert!(!access.is_open());
    assert_eq!(
        access.audience(),
        "each client's own rights, asked at the origin"
    );
}

#[test]
fn the_keys_of_the_section_reach_the_options() {
    let text = format!(
        "require_token: yes, keys: /keys.json, secret: {SECRET}, leeway: 5s, remember: 10m, grace: 0s"
    );
    let read = options(&access(&text));
    assert!(read.require_token);
    assert_eq!(read.keys, Some(KeySource::File("/keys.json".into())));
    assert_eq!(read.secret, Some(Secret::new(SECRET)));
    assert_eq!(read.leeway, Duration::from_secs(5));
    assert_eq!(read.remember, Duration::from_secs(600));
    assert_eq!(read.grace, Duration::ZERO);
    assert_eq!(
        read.audience(),
        "what a signed URL is for, and nothing else"
    );
    let url = "https://r.example/keys?set=1";
    let read = options(&access(&format!("keys: '{url}'")));
    assert_eq!(read.keys, Some(KeySource::Url(url.parse().unwrap())));
}

#[test]
fn whose_rights_count_follows_from_what_is_given() {
    for (text, rights, audience, is_open) in [
        (
            access("public: true"),
            Rights::Public,
            "everything, unchecked (transship.access.public)",
            true,
        ),
        (
            access("shared: true"),
            Rights::Cache,
            "what the cache's own credentials may pull",
            true,
        ),
        (
            format!("{LOCAL}{ACCOUNT}"),
            Rights::Cache,
            "what the cache's own credentials may pull",
            true,
        ),
        (
            format!("{LOCAL}{ACCOUNT}{}", access("public: true")),
            Rights::Public,
            "everything, unchecked (transship.access.public)",
            true,
        ),
        (
            HTPASSWD.to_owned(),
            Rights::Cache,
            "what the cache's own credentials may pull, after a login (auth.htpasswd)",
            false,
        ),
        (
            TOKEN.to_owned(),
            Rights::Client,
            "what each client's token of auth.token allows",
            false,
        ),
        (
            format!("{TOKEN}{}", access("shared: true")),
            Rights::Cache,
            "what each client's token of auth.token allows",
            false,
        ),
        (
            format!("{TOKEN}{ACCOUNT}"),
            Rights::Cache,
            "what each client's token of auth.token allows",
            false,
        ),
    ] {
        let access = options(&text);
        assert_eq!(access.rights, rights, "{text}");
        assert_eq!(access.audience(), audience, "{text}");
        assert_eq!(access.is_open(), is_open, "{text}");
    }
}

#[test]
fn an_account_on_an_open_address_is_refused_with_both_remedies() {
    const TOLD: &str = "could pull whatever this account may pull: have clients log in (auth), or set \
                        transship.access.shared: true if that is meant";
    assert_eq!(
        refused(&format!("{V}{ACCOUNT}")),
        format!("config.yml:2:49: proxy.username: whoever reaches http.addr (:5000) {TOLD}")
    );
    for open in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
        let said = refused(&format!("{V}{ACCOUNT}http: {{addr: '{open}'}}\n"));
        assert!(said.contains(TOLD), "{open}: {said}");
        assert!(!said.contains("hunter2"));
    }
    for no_leave in ["require_token: true", "shared: false"] {
        let said = refused(&format!("{V}{ACCOUNT}{}", access(no_leave)));
        assert!(said.contains(TOLD), "{no_leave}: {said}");
    }
    let said = refused(&format!("{V}{ACCOUNT}{}", access("public: true")));
    assert!(
        said.contains("transship.access.public does not cover an account: remove it, and have"),
        "{said}"
    );
    let env = [
        ("REGISTRY_PROXY_USERNAME", "u"),
        ("REGISTRY_PROXY_PASSWORD", "hunter2"),
        ("REGISTRY_PROXY_REMOTEURL", "https://r.example"),
    ];
    let said = load(&with_env(V, &env)).unwrap_err().to_string();
    assert!(
        said.starts_with("env REGISTRY_PROXY_USERNAME: proxy.username: whoever reaches"),
        "{said}"
    );
}

#[test]
fn an_account_is_accepted_where_somebody_has_said_who_may_use_it() {
    for text in [
        format!("{ACCOUNT}{LOCAL}"),
        format!("{ACCOUNT}http: {{addr: 'localhost:80'}}\n"),
        format!("{ACCOUNT}{}", access("shared: true")),
        format!("{ACCOUNT}{HTPASSWD}"),
        format!("{ACCOUNT}{TOKEN}"),
    ] {
        options(&text);
    }
    let mut sources = sources(&format!("{V}{ACCOUNT}"));
    sources.flags.listen = Some("127.0.0.1:0".to_owned());
    load(&sources).unwrap();
    sources.flags.listen = None;
    sources.flags.upstreams = vec!["https://other.example".to_owned()];
    let effective = load(&sources).unwrap();
    assert_eq!(effective.settings.access.rights, Rights::Client);
}

#[test]
fn keys_that_contradict_each_other_are_errors_at_the_second_with_the_firsts_place() {
    for (text, told) in [
        (
            access("public: true, shared: true"),
            "config.yml:2:44: transship.access.shared: contradicts transship.access.public (config.yml:2:30): \
             there nobody's rights are asked for, here those of the cache's own credentials: remove one of the two",
        ),
        (
            access("public: true, require_token: true"),
            "config.yml:2:51: transship.access.require_token: contradicts transship.access.public \
             (config.yml:2:30): what is public needs no signed URL: remove one of the two",
        ),
        (
            format!("{HTPASSWD}{}", access("public: true")),
            "config.yml:2:18: auth.htpasswd: contradicts transship.access.public (config.yml:3:30): what is public \
             needs no login: remove one of the two",
        ),
        (
            format!("{TOKEN}{}", access("public: true")),
            "config.yml:2:15: auth.token: contradicts transship.access.public (config.yml:3:30): what is public \
             needs no login: remove one of the two",
        ),
        (
            format!("{HTPASSWD}{}", access("shared: true")),
            "config.yml:3:30: transship.access.shared: contradicts auth.htpasswd (config.yml:2:18): whoever logs \
             in there has the rights of the cache's own credentials, and nobody else has: remove this key, or the \
             login if everyone is meant",
        ),
        (
            format!("{TOKEN}{}", access("require_token: true")),
            "config.yml:3:37: transship.access.require_token: contradicts auth.token (config.yml:2:15): no login \
             gives anything where only signed URLs do: remove one of the two",
        ),
    ] {
        assert_eq!(refused(&format!("{V}{text}")), told);
    }
    let all = access("public: true, shared: true, require_token: true");
    assert_eq!(refused(&format!("{V}{HTPASSWD}{all}")).lines().count(), 5);
    options(&access("shared: true, require_token: true"));
}

#[test]
fn values_that_do_not_hold_are_told_with_what_is_accepted() {
    for (keys, told) in [
        (
            "secret: hunter2-hunter2-hunter2-hunter",
            "transship.access.secret: the value is not accepted: want a secret text of at least 32 bytes",
        ),
        ("remember: 0s", "want a duration above zero with its unit"),
        ("remember: 60", "want a duration above zero with its unit"),
        ("leeway: 30", "want a duration such as 30s"),
        ("public: maybe", "want true or false"),
        ("keys: ftp://a.example/k", "want a path, or a URL such as"),
        (
            "keys: https://u:hunter2@a.example/k",
            "want a path, or a URL such as",
        ),
        ("keys: []", "want a path, or a URL such as"),
        (
            "publik: true",
            "unknown key; did you mean transship.access.public?",
        ),
    ] {
        let said = refused(&format!("{V}{}", access(keys)));
        assert!(said.contains(told), "{keys}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
    let effective = loaded(&format!("{V}{}", access(&format!("secret: {SECRET}"))));
    assert!(!format!("{effective:?}").contains(SECRET));
}

#[test]
fn what_is_given_in_vain_or_may_be_forged_is_a_warning() {
    let text = format!("public: true, keys: /k, secret: {SECRET}");
    let said = warnings(&loaded(&format!("{V}{}", access(&text))));
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].contains("transship.access.keys: has no effect"));
    assert!(said[1].contains("transship.access.secret: has no effect"));
    for (url, warned) in [
        ("http://a.example/k", 1),
        ("https://a.example/k", 0),
        ("http://127.0.0.1:8080/k", 0),
    ] {
        let said = warnings(&loaded(&format!("{V}{}", access(&format!("keys: {url}")))));
        assert_eq!(said.len(), warned, "{said:?}");
    }
    for (http, warned) in [
        ("http: {addr: ':80'}\n", 1),
        ("http: {tls: {certificate: /c, key: /k}}\n", 0),
        (LOCAL, 0),
    ] {
        let said = warnings(&loaded(&format!("{V}{HTPASSWD}{http}")));
        assert_eq!(said.len(), warned, "{said:?}");
        assert!(said.iter().all(|line| line.contains("unencrypted")));
    }
}

#[test]
fn both_types_of_authentication_are_read_as_the_registry_reads_them() {
    let htpasswd = options(HTPASSWD).door.unwrap();
    let (realm, path) = ("Cache".to_owned(), "/p".into());
    assert_eq!(htpasswd, Door::Htpasswd { realm, path });
    let text = "auth:\n  token:\n    realm: https://t.example/token\n    service: s\n    issuer: i\n    rootcertbundle: /r\n    jwks: /j\n    signingalgorithms: [ES256, EdDSA]\n    autoredirect: false\n";
    let token = Door::Token {
        realm: "https://t.example/token".to_owned(),
        service: "s".to_owned(),
        issuer: "i".to_owned(),
        roots: Some("/r".into()),
        jwks: Some("/j".into()),
        algorithms: vec!["ES256".to_owned(), "EdDSA".to_owned()],
    };
    assert_eq!(options(text).door, Some(token));
    for none in ["auth:\n", "auth: {}\n"] {
        assert_eq!(options(none).door, None, "{none}");
    }
    let env = [
        ("REGISTRY_AUTH", "htpasswd"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/p"),
        ("REGISTRY_AUTH_HTPASSWD_REALM", "Cache"),
        ("REGISTRY_TRANSSHIP_ACCESS_REMEMBER", "5s"),
        ("REGISTRY_TRANSSHIP_ACCESS_SECRET", SECRET),
    ];
    let access = load(&with_env(V, &env)).unwrap().settings.access;
    assert_eq!(access.door, Some(htpasswd));
    assert_eq!(access.remember, Duration::from_secs(5));
    assert_eq!(access.secret, Some(Secret::new(SECRET)));
}

#[test]
fn a_login_that_lacks_a_part_is_refused_and_never_left_open() {
    for (text, told) in [
        (
            "auth: htpasswd\n",
            "config.yml:2:7: auth.htpasswd.realm: missing: want what clients show when they ask for a password\n\
             config.yml:2:7: auth.htpasswd.path: missing: want the file of users and bcrypt hashes that htpasswd -B \
             writes",
        ),
        (
            "auth: {htpasswd: {realm: ''}}\n",
            "config.yml:2:26: auth.htpasswd.realm: \"\" is not accepted: want what clients show when they ask for a \
             password, on one line\n\
             config.yml:2:18: auth.htpasswd.path: missing: want the file of users and bcrypt hashes that htpasswd -B \
             writes",
        ),
        (
            "auth: {token: {jwks: /j}}\n",
            "config.yml:2:15: auth.token.realm: missing: want the URL of the token server\n\
             config.yml:2:15: auth.token.service: missing: want the name of this service at the token server\n\
             config.yml:2:15: auth.token.issuer: missing: want the issuer of the tokens",
        ),
        (
            "auth: {token: {realm: https://t.example, service: s, issuer: i}}\n",
            "config.yml:2:15: auth.token: has no key to verify tokens with: give rootcertbundle or jwks",
        ),
        (
            "auth:\n  token: {realm: https://t.example, service: s, issuer: i, jwks: /j}\n  htpasswd: {realm: r, path: /p}\n",
            "config.yml:4:3: auth.htpasswd: there can be one type of authentication, and token stands at \
             config.yml:3:3: remove one of the two",
        ),
        (
            "auth: {token: {realm: https://t.example, service: s, issuer: i, jwks: /j, autoredirect: true}}\n",
            "config.yml:2:89: auth.token.autoredirect: \"true\" is not supported: clients are always sent to \
             auth.token.realm: remove it",
        ),
        (
            "auth: {token: {realm: https://t.example, service: s, issuer: i, jwks: /j, signingalgorithms: [none]}}\n",
            "config.yml:2:95: auth.token.signingalgorithms[0]: \"none\" is not accepted: want EdDSA, HS256, HS384, \
             HS512, RS256, RS384, RS512, ES256, ES384, ES512, PS256, PS384, PS512",
        ),
        (
            "auth: {token: {realm: \"https://t.example\\r\\nX: y\", service: s, issuer: i, jwks: /j}}\n",
            "config.yml:2:23: auth.token.realm: \"https://t.example\\r\\nX: y\" is not accepted: want the URL of the \
             token server, on one line",
        ),
        (
            "auth: [htpasswd]\n",
            "config.yml:2:7: auth: a list: want a section with silly, htpasswd, token",
        ),
    ] {
        assert_eq!(refused(&format!("{V}{text}")), told, "{text}");
    }
    let two = [
        ("REGISTRY_AUTH_HTPASSWD_REALM", "r"),
        ("REGISTRY_AUTH_HTPASSWD_PATH", "/p"),
    ];
    let said = load(&with_env(&format!("{V}{TOKEN}"), &two)).unwrap_err();
    assert!(
        said.to_string()
            .contains("there can be one type of authentication"),
        "{said}"
    );
    let relative = loaded(&format!("{V}{}", TOKEN.replace("https://", "")));
    assert!(warnings(&relative)[0].contains("auth.token.realm: is not the http or https URL"));
}
