//! Tokens of each kind, keys and their files, and what is given of what is asked.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::grant::grant;
use super::keys::{Folder, Key};
use super::*;
use crate::auth::{KeySet, Scope, claimed_key};
use crate::gateway::accounts::{Accounts, Policy};
use crate::gateway::app::now;
use crate::gateway::identity::{Caller, Rights};
use crate::gateway::options::{Algorithm, Options, Probe, Tokens};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn options(state: &Path, database: &Path) -> Options {
    let second = Duration::from_secs(1);
    Options {
        listen: Vec::new(),
        tls: None,
        host: None,
        drain: second,
        backend: "http://127.0.0.1:9".parse().unwrap(),
        backend_login: None,
        cas: Vec::new(),
        state: state.to_owned(),
        database: Some(Secret::new(&format!(
            "sqlite:{}?mode=rwc",
            database.display()
        ))),
        accounts: options::Accounts::default(),
        tokens: Tokens {
            algorithm: Algorithm::EdDsa,
            life: 300 * second,
            url_life: 200 * second,
            rotate: Duration::ZERO,
        },
        probe: Probe {
            interval: second,
            timeout: second,
        },
        proxies: Vec::new(),
        warm: Vec::new(),
        mirror: Vec::new(),
    }
}

async fn signer(options: &Options) -> Signer {
    fs::create_dir_all(&options.state).unwrap();
    let state = State::open(options).await.unwrap();
    Signer::open(options, &state).await.unwrap()
}

fn name(text: &str) -> Name<'_> {
    Name::parse(text).unwrap()
}

fn pull(repository: &str) -> Vec<Access> {
    vec![Access {
        kind: "repository".to_owned(),
        name: repository.to_owned(),
        actions: vec!["pull".to_owned()],
    }]
}

#[tokio::test]
async fn each_kind_of_token_is_taken_for_what_it_is_and_for_nothing_else() {
    let dir = TempDir::new().unwrap();
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let mut options = options(
            &dir.path().join(format!("{algorithm:?}")),
            &dir.path().join("db"),
        );
        options.tokens.algorithm = algorithm;
        // The worst name that there could be: that of another kind of token.
        options.host = Some("http://transship/".parse().unwrap());
        let (signer, now) = (signer(&options).await, now());
        let (alice, digest) = (Subject::User("alice".to_owned()), DIGEST.parse().unwrap());
        let issued = signer.registry_token(&alice, &pull("a/b"), now);
        let url = signer.url_token(&alice, name("a/b"), &digest, now);
        let ticket = signer.ticket("7", name("a/b"), now);
        let (token, ticket) = (issued.token.expose(), ticket.expose());
        assert_eq!((issued.expires_in, issued.issued_at), (300, now));

        assert_eq!(signer.check(token, now), Ok((alice.clone(), pull("a/b"))));
        assert_eq!(signer.check(&url, now), Err(Refusal::Audience));
        assert_eq!(signer.check(ticket, now), Err(Refusal::Audience));
        let cache = Subject::Cache("7".to_owned());
        assert_eq!(signer.check_ticket(ticket, now), Ok((cache, pull("a/b"))));
        assert_eq!(signer.check_ticket(token, now), Err(Refusal::Audience));
        assert_eq!(signer.check_ticket(&url, now), Err(Refusal::Audience));
        let check = |token: &str, now| signer.check_url_token(token, name("a/b"), &digest, now);
        assert_eq!(check(&url, now), Ok(()));
        assert_eq!(check(token, now), Err(Refusal::Audience));
        assert_eq!(check(ticket, now), Err(Refusal::Audience));

        assert!(signer.check(token, now + 300).is_ok(), "clocks may differ");
        assert_eq!(signer.check(token, now + 310), Err(Refusal::Expired));
        assert_eq!(signer.check(token, now - 11), Err(Refusal::NotYetValid));
        assert_eq!(check(&url, now + 260), Err(Refusal::Expired));
        assert_eq!(signer.check("", now), Err(Refusal::Malformed));

        // As a cache reads it.
        let keys = KeySet::parse(signer.jwks().await.as_bytes()).unwrap();
        let read = SignedUrl::check(&url, &keys, now, 0, name("a/b"), &digest).unwrap();
        assert_eq!(
            (read.until, read.subject.as_deref()),
            (now + 200, Some("alice"))
        );
        let other = SignedUrl::check(&url, &keys, now, 0, name("a"), &digest);
        assert_eq!(other, Err(Refusal::Repository));
        assert!(!format!("{signer:?}{issued:?}").contains(token));
    }
}

#[tokio::test]
async fn gateways_that_share_a_database_take_each_others_tokens() {
    let dir = TempDir::new().unwrap();
    let database = dir.path().join("db");
    let first = signer(&options(&dir.path().join("1"), &database)).await;
    let second = signer(&options(&dir.path().join("2"), &database)).await;
    let (nobody, now) = (Subject::Nobody, now());
    let token = second.registry_token(&nobody, &[], now).token;
    assert_eq!(first.check(token.expose(), now), Err(Refusal::KeyUnknown));
    first.learn().await;
    assert_eq!(
        first.check(token.expose(), now),
        Ok((nobody.clone(), Vec::new()))
    );
    let token = first.registry_token(&nobody, &[], now).token;
    assert!(second.check(token.expose(), now).is_ok());
    // Rows that are no keys take nothing away, and one does not speak in another's name.
    let state = State::open(&options(&dir.path().join("1"), &database))
        .await
        .unwrap();
    let theirs = Key::make(Algorithm::EdDsa).unwrap().0.jwk.to_string();
    for (kid, jwk) in [
        ("a", "{"),
        ("b", "[]"),
        ("c", r#"{"kty":"oct","kid":"c","k":"AAAA"}"#),
        ("d", &*theirs),
    ] {
        let insert = "INSERT INTO signing_keys (kid, jwk, made, ends) VALUES ($1, $2, $3, $4)";
        let insert = sqlx::query(insert)
            .bind(kid.to_owned())
            .bind(jwk.to_owned());
        insert
            .bind(i64::MAX)
            .bind(i64::MAX)
            .execute(&state.pool)
            .await
            .unwrap();
    }
    let third = signer(&options(&dir.path().join("1"), &database)).await;
    assert!(third.check(token.expose(), now).is_ok());
    assert_eq!(
        KeySet::parse(third.jwks().await.as_bytes()).unwrap().len(),
        2
    );
}

#[tokio::test]
async fn a_key_is_made_once_and_another_algorithm_makes_another() {
    let dir = TempDir::new().unwrap();
    let mut options = options(&dir.path().join("state"), &dir.path().join("db"));
    let kid = |signer: &Signer| {
        let token = signer.registry_token(&Subject::Nobody, &[], now()).token;
        claimed_key(token.expose()).unwrap()
    };
    let first = kid(&signer(&options).await);
    assert_eq!(kid(&signer(&options).await), first);
    // A database that was lost takes no key along.
    fs::remove_file(dir.path().join("db")).unwrap();
    assert_eq!(kid(&signer(&options).await), first);
    options.tokens.algorithm = Algorithm::Es256;
    let later = signer(&options).await;
    assert_eq!(kid(&later), first, "the new one is not known yet");
    assert_eq!(
        KeySet::parse(later.jwks().await.as_bytes()).unwrap().len(),
        2
    );
    let token = later.sign(&json!({}), now() + 3600);
    assert_ne!(claimed_key(&token).unwrap(), first);
}

#[test]
fn keys_are_read_as_they_were_written_and_nobody_else_reads_them() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("keys");
    let folder = Folder::open(path.clone()).unwrap();
    let chmod =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let (key, pkcs8) = Key::make(algorithm).unwrap();
        folder.write(&key, &pkcs8).unwrap();
        let file = path.join(format!("{}.pem", key.kid));
        assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
        let [read] = &folder.read().unwrap()[..] else {
            panic!("one key")
        };
        assert_eq!(
            (&read.kid, &read.jwk, read.algorithm),
            (&key.kid, &key.jwk, algorithm)
        );
        // Its name is its thumbprint, as others compute it.
        let mut jwk = key.jwk.clone();
        jwk.as_object_mut().unwrap().remove("kid");
        let set = KeySet::parse(json!({"keys": [jwk]}).to_string().as_bytes()).unwrap();
        assert!(set.contains(&key.kid));
        chmod(&file, 0o640);
        let error = folder.read().unwrap_err().to_string();
        assert!(error.contains("others can read it (mode 0640)"), "{error}");
        folder.remove(&key.kid);
        folder.remove(&key.kid);
        assert!(folder.read().unwrap().is_empty());
    }
    fs::write(
        path.join("a.pem"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    )
    .unwrap();
    chmod(&path.join("a.pem"), 0o600);
    let error = folder.read().unwrap_err().to_string();
    assert!(error.contains("no PKCS #8 key"), "{error}");
    chmod(&path, 0o750);
    assert!(Folder::open(path).is_err());
}

#[test]
fn the_service_is_the_host_and_no_other_audience() {
    for (host, expected) in [
        (None, SERVICE),
        (Some("https://hub.example.org/"), "hub.example.org"),
        (
            Some("https://hub.example.org:5000/"),
            "hub.example.org:5000",
        ),
        (Some("http://transship/"), SERVICE),
        (Some("http://transship-ticket/"), SERVICE),
    ] {
        let host = host.map(|host| host.parse().unwrap());
        assert_eq!(service(host.as_ref()), expected);
    }
}

/// Who is Alice, of whom this policy speaks.
async fn policy(dir: &TempDir, yaml: &str) -> std::sync::Arc<Policy> {
    let hash = bcrypt::hash("a", 4).unwrap();
    fs::write(
        dir.path().join("htpasswd"),
        format!("alice:{hash}\nroot:{hash}\n"),
    )
    .unwrap();
    fs::write(dir.path().join("policy.yml"), yaml).unwrap();
    let options = options::Accounts::default();
    Accounts::open(&options, dir.path()).unwrap().policy()
}

const POLICY: &str = "\
admins: [root]
rules:
  - {repository: a/**, users: [alice], allow: [pull, push]}
  - {repository: public, anonymous: true, allow: [pull]}
";

fn caller(user: &str) -> Caller {
    Caller {
        subject: Subject::of_claim(Some(user)),
        rights: Rights::Policy,
    }
}

/// Returns what is given: `a/b pull,push`.
fn given(asked: &[&str], caller: &Caller, policy: &Policy) -> Vec<String> {
    let given = grant(asked.iter().copied(), caller, policy).into_iter();
    given
        .map(|access| format!("{} {}", access.name, access.actions.join(",")))
        .collect()
}

#[tokio::test]
async fn everybody_gets_what_they_may_of_what_they_ask() {
    let dir = TempDir::new().unwrap();
    let policy = policy(&dir, POLICY).await;
    let (alice, root) = (caller("alice"), caller("root"));
    for (asked, caller, expected) in [
        (
            &["repository:a/b:pull,push,delete"][..],
            &alice,
            &["a/b pull,push"][..],
        ),
        (
            &["repository:a/b:push repository:a/b:pull"],
            &alice,
            &["a/b push,pull"],
        ),
        (
            &["repository:a/b:pull", "repository:c:pull"],
            &alice,
            &["a/b pull"],
        ),
        (&["repository:a/b:*"], &alice, &["a/b pull,push"]),
        (&["repository:c:*"], &root, &["c pull,push,delete"]),
        (&["repository(plugin):a/b:pull"], &alice, &["a/b pull"]),
        (&["registry:catalog:*"], &alice, &["catalog *"]),
        (&["registry:catalog:pull registry:other:*"], &root, &[]),
        (
            &[
                "",
                "  ",
                "repository:A:pull",
                "repository:h:5000/a/b:pull",
                "x:a/b:pull",
            ],
            &root,
            &[],
        ),
        (
            &["repository:public:pull,push"],
            &Caller::nobody(),
            &["public pull"],
        ),
        (&["repository:a/b:pull"], &Caller::nobody(), &[]),
        (&["registry:catalog:*"], &Caller::nobody(), &["catalog *"]),
    ] {
        assert_eq!(
            given(asked, caller, &policy),
            expected,
            "{asked:?} {caller:?}"
        );
    }
    let ticket = Caller {
        subject: Subject::Cache("1".to_owned()),
        rights: Rights::Token(pull("a/b")),
    };
    let asked = ["repository:a/b:pull,push repository:public:pull registry:catalog:*"];
    assert_eq!(given(&asked, &ticket, &policy), ["a/b pull"]);
    let closed = Policy::default();
    assert!(given(&["registry:catalog:*"], &Caller::nobody(), &closed).is_empty());
    // However much is asked, the token can be shown again.
    let names = (0..200).map(|n| format!("repository:{}{n}:*", "a".repeat(200)));
    let names: Vec<_> = names.collect();
    let texts: Vec<_> = names.iter().map(String::as_str).collect();
    let access = grant(texts, &root, &policy);
    assert!(!access.is_empty() && json!(access).to_string().len() < 6000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn nobody_gets_more_than_they_asked_and_may(
        texts in prop::collection::vec("(repository|registry):(a/b|c|public|catalog):(pull|push|delete|\\*|pull,push)( repository:c:pull)?", 0..5),
        user in "alice|root|",
    ) {
        let dir = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let policy = runtime.block_on(policy(&dir, POLICY));
        let caller = if user.is_empty() { Caller::nobody() } else { caller(&user) };
        for access in grant(texts.iter().map(String::as_str), &caller, &policy) {
            let scopes: Vec<_> = texts.iter().flat_map(|text| text.split(' ')).filter_map(Scope::parse).collect();
            for action in &access.actions {
                let is_asked = |scope: &Scope<'_>| scope.kind == access.kind && scope.name == access.name
                    && scope.actions().any(|asked| asked == "*" || asked == action);
                prop_assert!(scopes.iter().any(is_asked));
                if access.kind == "repository" {
                    let known = crate::gateway::accounts::Action::ALL.into_iter().find(|known| known.name() == action);
                    prop_assert!(caller.may(known.unwrap(), name(&access.name), &policy));
                }
            }
        }
    }
}
