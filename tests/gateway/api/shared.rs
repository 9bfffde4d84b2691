//! The database: one that several share, one that goes away, one that is newer, one whose gateway was killed.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::postgres::{PASSWORD, Postgres};
use super::{ALICE, Api, CACHES, basic, cache, options};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::process::{run, until};
use crate::support::{Blob, DockerRegistry};

fn on(url: &str) -> Result<Gateway, String> {
    options().more(format!("  database: '{url}'\n")).try_start()
}

#[test]
fn two_gateways_that_start_at_once_share_a_database() {
    let postgres = Postgres::start();
    let url = postgres.url();
    let gateways = thread::scope(|scope| {
        let starts = [(); 3].map(|()| scope.spawn(|| on(&url).unwrap()));
        starts.map(|start| Api::of(start.join().unwrap()))
    });
    let [one, two, three] = &gateways;
    let id = one.register(json!({"name": "asia", "host": "http://127.0.0.1:9", "isDefault": true}));
    let path = format!("{CACHES}/{id}");
    assert_eq!(two.ask("alice", "GET", &path, None).json()["name"], "asia");
    two.ask("root", "POST", CACHES, Some(cache("asia")))
        .expect_error(400, "INVALID_CONTENT_CACHE");
    // Each looks at it by itself.
    until("the other one has looked at it", || {
        two.health(&id)["state"] == "down"
    });
    let chosen = json!({"contentCacheUUID": id});
    assert_eq!(two.ask("alice", "PATCH", ALICE, Some(chosen)).status(), 200);
    let settings = |api: &Api| api.ask("alice", "GET", ALICE, None).json();
    assert_eq!(settings(three), json!({"ContentCacheUUID": id}));
    let other = json!({"name": "europe", "host": "http://127.0.0.1:9", "isDefault": true});
    three.register(other);
    assert_eq!(
        one.ask("alice", "GET", &path, None).json()["isDefault"],
        false
    );
    assert_eq!(three.ask("root", "DELETE", &path, None).status(), 204);
    assert_eq!(settings(one), json!({"ContentCacheUUID": ""}));
}

#[test]
fn many_writers_of_several_gateways_leave_one_default() {
    let postgres = Postgres::start();
    let gateways = [(); 2].map(|()| Api::of(on(&postgres.url()).unwrap()).gateway);
    thread::scope(|scope| {
        for (index, gateway) in gateways.iter().enumerate() {
            scope.spawn(move || {
                let url = gateway.url() + CACHES;
                for number in 0..10 {
                    let name = format!("{index}-{number}");
                    let body =
                        json!({"name": name, "host": "http://127.0.0.1:9", "isDefault": true});
                    run(Command::new("curl")
                        .args([
                            "-sSf",
                            "-u",
                            "root:root-password",
                            "-H",
                            "Content-Type: application/json",
                        ])
                        .args(["-d", &body.to_string(), &url]));
                }
            });
        }
    });
    let [one, _] = gateways;
    let listed = Api::of(one).ask("alice", "GET", CACHES, None).json();
    let listed = listed.as_array().unwrap();
    let defaults = listed
        .iter()
        .filter(|cache| cache["isDefault"] == true)
        .count();
    assert_eq!((listed.len(), defaults), (20, 1));
}

#[test]
fn a_database_that_goes_away_is_told_and_comes_back() {
    let mut postgres = Postgres::start();
    let api = Api::of(on(&postgres.url()).unwrap());
    let id = api.register(cache("asia"));
    let list = || api.ask("alice", "GET", CACHES, None);
    assert_eq!(list().status(), 200);
    postgres.stop();
    list().expect_error(503, "UNAVAILABLE");
    let chosen = || Some(json!({"contentCacheUUID": id}));
    api.ask("alice", "PATCH", ALICE, chosen())
        .expect_error(503, "UNAVAILABLE");
    assert_eq!(api.gateway.get("/healthz", None).status(), 200);
    postgres.start_again();
    until("it answers again", || list().status() == 200);
    assert_eq!(api.ask("alice", "PATCH", ALICE, chosen()).status(), 200);
    assert!(!api.gateway.process.log().contains(PASSWORD));
}

#[test]
fn pulls_and_pushes_go_on_while_the_database_is_away_or_hangs() {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let (mut postgres, registry) = (Postgres::start(), DockerRegistry::start());
    let config = Blob::new(b"{}".to_vec());
    registry.hold(&config);
    let allowed = "{repository: test/**, users: [alice], allow: [pull, push]}";
    let gateway = Gateway::before(registry.url())
        .user("root", "root-password")
        .user("alice", "alice-password")
        .policy(format!("admins: [root]\nrules: [{allowed}]\n"))
        .more("  probe: {interval: 200ms, timeout: 2s}\n")
        .more("  warm: [{repository: 'test/**', caches: [near]}]\n")
        .more(format!("  database: '{}'\n", postgres.url()))
        .start();
    let api = Api::of(gateway);
    let id = api.register(json!({"name": "near", "host": registry.url()}));
    let chosen = json!({"contentCacheUUID": id});
    assert_eq!(api.ask("alice", "PATCH", ALICE, Some(chosen)).status(), 200);
    until("it is up", || api.health(&id)["state"] == "up");
    let login = basic("alice");
    let path = format!("/v2/test/image/blobs/{}", config.digest);
    let pull = || api.gateway.get(&path, Some(&login)).status();
    assert_eq!(pull(), 307);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config.digest, "size": 2},
        "layers": [],
    });
    let push = || {
        let (body, mut client) = (manifest.to_string(), Client::connect(api.gateway.addr));
        let length = body.len().to_string();
        let fields = [
            ("Authorization", login.as_str()),
            ("Content-Type", MANIFEST),
            ("Content-Length", &length),
        ];
        client.ask("PUT", "/v2/test/image/manifests/v1", &fields);
        client.send(body.as_bytes());
        client.reply("PUT").status()
    };
    let list = || api.ask("alice", "GET", CACHES, None).status();
    let go_on = || {
        until("it is away", || list() == 503);
        assert_eq!((pull(), push()), (307, 201));
        let keys = api.gateway.get("/.well-known/jwks.json", None);
        assert_eq!(keys.status(), 200);
    };
    postgres.stop();
    go_on();
    postgres.start_again();
    until("it is back", || list() == 200);
    let _holder = postgres.hold();
    go_on();
}

#[test]
fn a_database_that_cannot_be_used_is_told_without_its_password() {
    let postgres = Postgres::start();
    let wrong = on(&postgres.url_with("another-word")).err().unwrap();
    assert!(
        wrong.contains("gateway.database") && wrong.contains("authentication failed"),
        "{wrong}"
    );
    assert!(!wrong.contains("another-word"), "{wrong}");
    drop(on(&postgres.url()).unwrap());
    postgres.run(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (9999, 'of tomorrow', true, '', 0)",
    );
    let newer = on(&postgres.url()).err().unwrap();
    assert!(newer.contains("newer") && newer.contains("9999"), "{newer}");
    let url = postgres.url();
    drop(postgres);
    let gone = on(&url).err().unwrap();
    assert!(
        gone.contains("gateway.database") && gone.contains("refused"),
        "{gone}"
    );
    for log in [newer, gone] {
        assert!(!log.contains(PASSWORD), "{log}");
    }
}

#[test]
fn what_was_answered_is_kept_by_a_gateway_that_was_killed() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    let mut api = Api::of(options().state(&state).start());
    let id = api.register(cache("asia"));
    let chosen = json!({"contentCacheUUID": id});
    assert_eq!(api.ask("alice", "PATCH", ALICE, Some(chosen)).status(), 200);
    for (name, wanted) in [
        ("", 0o700),
        ("gateway.db", 0o600),
        ("gateway.db-wal", 0o600),
        ("gateway.db-shm", 0o600),
        ("gateway.db.lock", 0o600),
    ] {
        let found = std::fs::metadata(state.join(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, wanted, "{name}");
    }
    api.gateway.process.kill();
    let again = Api::of(options().state(&state).start());
    let caches: Value = again.ask("alice", "GET", CACHES, None).json();
    assert_eq!(caches[0]["id"], Value::from(&*id));
    let settings = again.ask("alice", "GET", ALICE, None).json();
    assert_eq!(settings, json!({"ContentCacheUUID": id}));
}

#[test]
fn a_file_with_tables_of_tomorrow_is_not_touched() {
    let dir = TempDir::new().unwrap();
    let state = dir.path().join("state");
    drop(options().state(&state).start());
    let script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); \
        db.execute(\"INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
        VALUES (9999, 'of tomorrow', 1, '', 0)\"); db.commit()";
    run(Command::new("python3")
        .args(["-c", script])
        .arg(state.join("gateway.db")));
    let failed = options().state(&state).try_start().err().unwrap();
    assert!(
        failed.contains("newer") && failed.contains("9999"),
        "{failed}"
    );
}
