//! The API of content caches and settings, and the database behind it.

mod caches;
mod described;
pub(in crate::gateway) mod postgres;
mod shared;
mod statuses;

use std::cell::RefCell;
use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::client::{Client, Reply};
use crate::support::gateway::{Gateway, Options};

/// Nobody listens there, and nothing here asks it.
const BACKEND: &str = "http://127.0.0.1:9";
/// Nor there: a cache that is always down.
const NOWHERE: &str = "http://127.0.0.1:9";
const CACHES: &str = "/api/v0/content_caches";
const ALICE: &str = "/api/v0/accounts/alice/settings";

fn options() -> Options {
    Gateway::before(BACKEND)
        .user("root", "root-password")
        .user("alice", "alice-password")
        .user("bob", "bob-password")
        .policy("admins: [root]\n")
        .more("  probe: {interval: 200ms, timeout: 2s}\n")
}

fn basic(user: &str) -> String {
    format!(
        "Basic {}",
        STANDARD.encode(format!("{user}:{user}-password"))
    )
}

/// A gateway's API. Each answer is held against the description.
struct Api {
    gateway: Gateway,
    description: Value,
    /// Path, method and status of what was answered.
    seen: RefCell<BTreeSet<(String, String, u16)>>,
}

impl Api {
    fn start() -> Self {
        Self::of(options().start())
    }

    fn of(gateway: Gateway) -> Self {
        let description = gateway.get("/api/v0/openapi.json", None).json();
        Self {
            gateway,
            description,
            seen: RefCell::default(),
        }
    }

    /// Asks as `user`, with this JSON.
    #[track_caller]
    fn ask(&self, user: &str, method: &str, path: &str, body: Option<Value>) -> Reply {
        let authorization = basic(user);
        let fields = [("Authorization", authorization.as_str())];
        let Some(body) = body else {
            return self.send(method, path, &fields, "");
        };
        let fields = [fields[0], ("Content-Type", "application/json")];
        self.send(method, path, &fields, &body.to_string())
    }

    #[track_caller]
    fn send(&self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: gateway.test\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let mut client = Client::connect(self.gateway.addr);
        client.send(head.as_bytes());
        let reply = client.reply(method);
        self.expect_described(method, path, &reply);
        reply
    }

    /// Registers a cache, and returns its id.
    #[track_caller]
    fn register(&self, cache: Value) -> String {
        let reply = self.ask("root", "POST", CACHES, Some(cache));
        assert_eq!(reply.status(), 201, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Returns how a cache is.
    fn health(&self, id: &str) -> Value {
        let reply = self.ask("alice", "GET", &format!("{CACHES}/{id}"), None);
        reply.json()["health"].clone()
    }

    /// Checks that the path has this answer in the description, with this body.
    #[track_caller]
    fn expect_described(&self, method: &str, path: &str, reply: &Reply) {
        let status = reply.status();
        let template = template(&self.description, path);
        let method = method.to_lowercase();
        let operation = &self.description["paths"][&template][&method];
        if operation.is_null() {
            // What is not described is not there.
            assert!([404, 405].contains(&status), "{method} {path}: {status}");
            return;
        }
        self.seen.borrow_mut().insert((template, method, status));
        let described = &operation["responses"][status.to_string()];
        assert!(
            described.is_object(),
            "{path} answers {status}: {}",
            reply.text()
        );
        let schema = &described["content"]["application/json"]["schema"];
        if schema.is_null() {
            assert!(reply.body.is_empty(), "{}", reply.text());
            return;
        }
        described::validate(&self.description, schema, &reply.json(), path);
    }
}

/// Returns the described path of a path: itself, or one with a variable where it has something.
fn template(description: &Value, path: &str) -> String {
    let path = path.split('?').next().unwrap();
    let fits = |described: &str| {
        let pairs = described.split('/').zip(path.split('/'));
        described.split('/').count() == path.split('/').count()
            && pairs.into_iter().all(|(a, b)| a == b || a.starts_with('{'))
    };
    let mut described = description["paths"].as_object().unwrap().keys();
    let found = described.find(|described| fits(described));
    found.map_or_else(|| path.to_owned(), Clone::clone)
}

/// Returns a path of the description with something in the place of each variable.
fn filled(path: &str) -> String {
    let parts = path.split('/').map(|part| match part {
        "{username}" => "alice",
        part if part.starts_with('{') => "none",
        part => part,
    });
    parts.collect::<Vec<_>>().join("/")
}

fn cache(name: &str) -> Value {
    json!({"name": name, "host": NOWHERE})
}
