//! Who there is, what they may do, and the tokens that say so.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::support::client::{Client, Reply};
use crate::support::gateway::{Gateway, Options};

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

fn json(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&reply.body)))
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
    let body = json(&reply);
    assert_eq!(body["token"], body["access_token"]);
    assert_eq!(body["expires_in"], 300);
    let token = body["token"].as_str().unwrap().to_owned();
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
    assert_eq!(json(&keys)["keys"][0]["kid"], kid(&signed).as_str());
}
