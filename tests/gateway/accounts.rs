//! Who there is, what they may do, and the tokens that say so.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::Value;
use tempfile::TempDir;
use transship::auth::{Algorithms, KeySet, Refusal, RegistryToken};

use crate::support::client::{Client, Reply, request};
use crate::support::gateway::{Gateway, Options};
use crate::support::process::output;
use crate::support::pull::skopeo;
use crate::support::{Origin, Transship, assert_same, signer, until};

/// Nobody listens there, and nothing here asks it.
const BACKEND: &str = "http://127.0.0.1:9";
const POLICY: &str = "\
admins: [root]
groups: {dev: [alice]}
rules:
  - {repository: website/**, groups: [dev], allow: [pull, push]}
  - {repository: public/*, anonymous: true, allow: [pull]}
";

fn gateway() -> Options {
    Gateway::before(BACKEND)
        .user("root", "root-password")
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .policy(POLICY)
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Returns the claims of a token, which is not checked.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn kid(token: &str) -> String {
    let header = token.split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// Returns a token for this query, and what it gives: `website/ui pull,push`.
fn token(gateway: &Gateway, query: &str, authorization: Option<&str>) -> (String, Vec<String>) {
    let reply = gateway.get(&format!("/auth/token?{query}"), authorization);
    assert_eq!(
        reply.status(),
        200,
        "{}",
        String::from_utf8_lossy(&reply.body)
    );
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    let body = reply.json();
    assert_eq!(body["token"], body["access_token"]);
    let token = body["token"].as_str().unwrap().to_owned();
    let time = |name: &str| claims(&token)[name].as_u64().unwrap();
    assert_eq!(body["expires_in"], time("exp") - time("iat"));
    let given = access(&token);
    (token, given)
}

fn access(token: &str) -> Vec<String> {
    let claims = claims(token);
    let text = |access: &Value| {
        let actions = access["actions"].as_array().unwrap().iter();
        let actions: Vec<_> = actions.map(|action| action.as_str().unwrap()).collect();
        format!("{} {}", access["name"].as_str().unwrap(), actions.join(","))
    };
    claims["access"]
        .as_array()
        .unwrap()
        .iter()
        .map(text)
        .collect()
}

#[test]
fn a_token_gives_what_the_policy_allows_of_what_was_asked() {
    let gateway = gateway().start();
    let alice = basic("alice", "alice-password");
    let asked = "service=x&account=alice&offline_token=true&client_id=docker\
        &scope=repository:website/ui:pull,push,delete&scope=repository:other:pull%20repository:public/a:pull,push\
        &scope=registry:catalog:*&scope=repository:..:pull&scope=nonsense";
    let (signed, given) = token(&gateway, asked, Some(&alice));
    assert_eq!(
        given,
        ["website/ui pull,push", "public/a pull", "catalog *"]
    );
    let told = claims(&signed);
    assert_eq!(told["sub"], "alice");
    assert_eq!(told["aud"], told["iss"]);
    let (_, given) = token(&gateway, asked, None);
    assert_eq!(given, ["public/a pull", "catalog *"]);
    let root = basic("root", "root-password");
    let (_, given) = token(&gateway, "scope=repository:any/thing:*", Some(&root));
    assert_eq!(given, ["any/thing pull,push,delete"]);
    let (_, given) = token(&gateway, "", Some(&alice));
    assert_eq!(given, [""; 0]);
    let keys = gateway.get("/.well-known/jwks.json", None);
    assert_eq!(keys.field("cache-control"), Some("public, max-age=5"));
    assert_eq!(keys.json()["keys"][0]["kid"], kid(&signed).as_str());
}

#[test]
fn nobody_learns_whether_a_name_or_a_password_was_wrong() {
    let gateway = gateway().start();
    let alice = basic("alice", "alice-password");
    let (signed, _) = token(&gateway, "", Some(&alice));
    let mut said = BTreeSet::new();
    for wrong in [
        basic("alice", "bob-password"),
        basic("alice", ""),
        basic("nobody", "alice-password"),
        basic("", ""),
        basic("cache", &signed),
        // A token that could be made a new one of would never end.
        format!("Bearer {signed}"),
        "Basic !".to_owned(),
        "Digest a".to_owned(),
    ] {
        let reply = gateway.get("/auth/token?scope=repository:public/a:pull", Some(&wrong));
        reply.expect_error(401, "UNAUTHORIZED");
        let challenge = reply.field("www-authenticate").unwrap();
        assert_eq!(
            challenge,
            "Basic realm=\"transship-gateway\", charset=\"UTF-8\""
        );
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        said.insert(reply.text());
    }
    assert_eq!(said.len(), 1, "{said:?}");
    let log = gateway.process.log();
    assert!(
        !log.contains("alice-password") && !log.contains(&signed),
        "{log}"
    );
}

fn post(gateway: &Gateway, kind: &str, body: &str) -> Reply {
    let length = body.len().to_string();
    let fields = [("Content-Type", kind), ("Content-Length", &*length)];
    let mut client = Client::connect(gateway.addr);
    client.send(&[&request("POST", "/auth/token", &fields), body.as_bytes()].concat());
    client.reply("POST")
}

const FORM: &str = "application/x-www-form-urlencoded";

#[test]
fn a_form_gives_what_a_query_does_and_bad_forms_are_told_why() {
    let gateway = gateway().start();
    let login = "grant_type=password&username=alice&password=alice-password";
    let more = "service=x&client_id=docker&access_type=offline&scope=repository:website/ui:pull,delete+repository:x:pull";
    let reply = post(&gateway, FORM, &format!("{login}&{more}"));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    let body = reply.json();
    assert_eq!(
        access(body["access_token"].as_str().unwrap()),
        ["website/ui pull"]
    );
    assert_eq!(body["scope"], "repository:website/ui:pull");
    assert!(body.get("refresh_token").is_none());
    let issued = body["issued_at"].as_str().unwrap();
    assert!(
        issued.len() == 20 && issued.starts_with("20") && issued.ends_with('Z'),
        "{issued}"
    );
    let long = format!("{login}&scope={}", "a".repeat(70_000));
    for (kind, body, status, error) in [
        (
            FORM,
            "grant_type=password&username=alice&password=no",
            401,
            "invalid_grant",
        ),
        (
            FORM,
            "grant_type=password&username=cache&password=no",
            401,
            "invalid_grant",
        ),
        (FORM, "grant_type=password", 401, "invalid_grant"),
        (
            FORM,
            "grant_type=refresh_token&refresh_token=a",
            400,
            "unsupported_grant_type",
        ),
        (FORM, "grant_type=", 400, "unsupported_grant_type"),
        (FORM, "", 400, "invalid_request"),
        (FORM, "\0%zz%ff&=&&&", 400, "invalid_request"),
        (
            FORM,
            "grant_type=password&username=alice&username=root&password=alice-password",
            400,
            "invalid_request",
        ),
        ("application/json", "{}", 400, "invalid_request"),
        ("", login, 400, "invalid_request"),
        (FORM, &long, 413, "invalid_request"),
    ] {
        let reply = post(&gateway, kind, body);
        assert_eq!(reply.status(), status, "{body:.80} {}", reply.text());
        assert_eq!(reply.json()["error"], error, "{body:.80}");
        assert_eq!(reply.field("www-authenticate").is_some(), status == 401);
    }
    assert_eq!(
        Client::connect(gateway.addr)
            .call("DELETE", "/auth/token", &[])
            .status(),
        405
    );
    assert_eq!(gateway.get("/healthz", None).status(), 200);
}

#[test]
fn rights_and_users_are_as_the_files_say_now() {
    let gateway = gateway().start();
    let (alice, bob) = (
        basic("alice", "alice-password"),
        basic("bob", "bob-password"),
    );
    let given = |who: &str| token(&gateway, "scope=repository:website/ui:pull", Some(who)).1;
    assert_eq!(given(&alice), ["website/ui pull"]);
    assert_eq!(given(&bob), [""; 0]);
    let (policy, htpasswd) = (gateway.file("policy.yml"), gateway.file("htpasswd"));
    fs::write(&policy, "rules: [").unwrap();
    gateway
        .process
        .line(|line| line.contains("of no use"))
        .unwrap();
    assert_eq!(given(&alice), ["website/ui pull"], "what was good stays");
    fs::write(&policy, POLICY.replace("alice", "bob")).unwrap();
    until("the new policy counts", || {
        given(&bob) == ["website/ui pull"]
    });
    assert_eq!(given(&alice), [""; 0]);
    let lines = fs::read_to_string(&htpasswd).unwrap();
    let without: Vec<_> = lines
        .lines()
        .filter(|line| !line.starts_with("bob:"))
        .collect();
    fs::write(&htpasswd, without.join("\n")).unwrap();
    until("Bob is gone", || {
        gateway.get("/auth/token", Some(&bob)).status() == 401
    });
    assert_eq!(given(&alice), [""; 0]);
}

fn keys(gateway: &Gateway) -> KeySet {
    KeySet::parse(&gateway.get("/.well-known/jwks.json", None).body).unwrap()
}

/// Says what a gateway's keys say of a token, at the time when it was made.
fn check(token: &str, keys: &KeySet) -> Result<(), Refusal> {
    let now = claims(token)["iat"].as_u64().unwrap();
    let (allowed, name) = (Algorithms::REGISTRY_TOKEN, "transship-gateway");
    RegistryToken::check(token, keys, allowed, now, 0, name, name).map(drop)
}

fn key_files(state: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(state.join("keys")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_new_key_signs_after_a_while_and_what_the_old_one_signed_still_counts() {
    let gateway = gateway()
        .more("  token: {rotate: 3s, life: 3s, urllife: 3s, algorithm: ES256}\n")
        .start();
    let (first, _) = token(&gateway, "", None);
    until("there is a second key", || keys(&gateway).len() > 1);
    let mut signed = BTreeSet::from([kid(&first)]);
    // Two, so that what the first leaves behind has been looked after.
    until("two other keys have signed", || {
        let (token, _) = token(&gateway, "", None);
        // Whoever reads the keys now can check what was signed before.
        let set = keys(&gateway);
        assert_eq!(check(&token, &set), Ok(()));
        assert_eq!(check(&first, &set), Ok(()));
        signed.insert(kid(&token));
        signed.len() > 2
    });
    let nobodys = KeySet::default();
    assert_eq!(check(&first, &nobodys), Err(Refusal::KeyUnknown));
}

#[test]
fn keys_are_the_owners_and_one_that_others_can_read_stops_the_gateway() {
    let dir = TempDir::new().unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let first = {
        let gateway = gateway().state(dir.path()).start();
        kid(&token(&gateway, "", None).0)
    };
    let files = key_files(dir.path());
    let [file] = &files[..] else {
        panic!("{files:?}")
    };
    assert_eq!((mode(&dir.path().join("keys")), mode(file)), (0o700, 0o600));
    let again = gateway().state(dir.path()).start();
    assert_eq!(
        kid(&token(&again, "", None).0),
        first,
        "a key outlives its gateway"
    );
    drop(again);
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    let said = gateway().state(dir.path()).try_start().err().unwrap();
    assert!(said.contains("others can read it (mode 0644)"), "{said}");
}

#[test]
fn two_gateways_of_one_database_know_each_others_keys() {
    let dir = TempDir::new().unwrap();
    let database = format!(
        "  database: 'sqlite:{}?mode=rwc'\n",
        dir.path().join("db").display()
    );
    let first = gateway().more(&database).start();
    let second = gateway().more(&database).start();
    for (signing, other) in [(&first, &second), (&second, &first)] {
        let (token, _) = token(signing, "", None);
        until("the other one publishes the key", || {
            check(&token, &keys(other)) == Ok(())
        });
    }
    assert_eq!(keys(&first).len(), 2);
}

#[test]
fn the_first_start_makes_an_admin_whose_password_only_a_file_knows() {
    let gateway = Gateway::before(BACKEND).start();
    let path = gateway.state.join("admin-password");
    let password = fs::read_to_string(&path).unwrap();
    let log = gateway.process.log();
    assert!(log.contains(&path.display().to_string()), "{log}");
    assert!(!log.contains(password.trim()), "{log}");
    for name in ["admin-password", "htpasswd", "policy.yml"] {
        let mode = fs::metadata(gateway.state.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let admin = basic("admin", password.trim());
    let (_, given) = token(&gateway, "scope=repository:a:*", Some(&admin));
    assert_eq!(given, ["a pull,push,delete"]);
    let (_, given) = token(&gateway, "scope=repository:a:pull", None);
    assert_eq!(given, [""; 0]);
}

const CACHE: &str =
    "version: 0.1\nstorage: {filesystem: {rootdirectory: /unused}}\nhttp: {addr: '127.0.0.1:0'}\n";

#[test]
fn skopeo_logs_in_at_a_cache_that_trusts_the_gateways_tokens() {
    let (gateway, origin, dir) = (gateway().start(), Origin::start(), TempDir::new().unwrap());
    let set = dir.path().join("keys.json");
    fs::write(&set, gateway.get("/.well-known/jwks.json", None).body).unwrap();
    let name = "transship-gateway";
    let cache = Transship::options()
        .config(format!(
            "{CACHE}auth:\n  token:\n    realm: {}/auth/token\n    service: {name}\n    issuer: {name}\n    \
             jwks: {}\nmiddleware:\n  registry:\n    - name: downstream\n      options: {{upstreams: ['{}']}}\n",
            gateway.url(),
            set.display(),
            origin.url(),
        ))
        .start();
    let login = |user: &str, password: &str| {
        let mut command = skopeo();
        command
            .env("REGISTRY_AUTH_FILE", dir.path().join("auth.json"))
            .args(["login", "--tls-verify=false", "-u", user, "-p", password])
            .arg(cache.addr.to_string());
        output(&mut command)
    };
    let good = login("alice", "alice-password");
    assert!(
        good.status.success(),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
    for (user, password) in [("alice", "wrong"), ("nobody", "alice-password")] {
        assert!(!login(user, password).status.success(), "{user}");
    }
    let blob = origin.make(1, 1000);
    origin.hold_in(&["website/ui"], &blob);
    let get = |who: &str| {
        let authorization = basic(who, &format!("{who}-password"));
        let query = "scope=repository:website/ui:pull";
        let bearer = format!("Bearer {}", token(&gateway, query, Some(&authorization)).0);
        let path = format!("/v2/website/ui/blobs/{}", blob.digest);
        cache
            .client()
            .call("GET", &path, &[("Authorization", &bearer)])
    };
    assert_same(&get("alice").body, &blob.bytes);
    assert_eq!(get("bob").status(), 401);
}

#[test]
fn a_cache_that_reads_the_gateways_keys_takes_what_they_sign() {
    for (algorithm, name) in [(Algorithm::EdDSA, "EdDSA"), (Algorithm::ES256, "ES256")] {
        let more = format!("  token: {{algorithm: {name}}}\n");
        let (gateway, origin) = (gateway().more(more).start(), Origin::start());
        let blob = origin.make(2, 1000);
        let cache = Transship::options()
            .config(format!(
                "{CACHE}transship: {{access: {{keys: '{}/.well-known/jwks.json'}}}}\nmiddleware:\n  registry:\n    \
                 - name: downstream\n      options: {{upstreams: ['{}']}}\n",
                gateway.url(),
                origin.url(),
            ))
            .start();
        let files = key_files(&gateway.state);
        let der = PrivatePkcs8KeyDer::from_pem_file(&files[0]).unwrap();
        let key = match algorithm {
            Algorithm::EdDSA => EncodingKey::from_ed_der(der.secret_pkcs8_der()),
            _ => EncodingKey::from_ec_der(der.secret_pkcs8_der()),
        };
        let mut header = Header::new(algorithm);
        header.kid = Some(kid(&token(&gateway, "", None).0));
        let claims = signer::claims("test/image", &blob.digest);
        let token = jsonwebtoken::encode(&header, &claims, &key).unwrap();
        let reply = cache.get(&signer::signed(&blob, &token));
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert_same(&reply.body, &blob.bytes);
    }
}
