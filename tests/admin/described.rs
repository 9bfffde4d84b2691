//! `docs/openapi.json` against the server: every path answers what its schema says.
//!
//! The schemas use a small part of JSON Schema, all of which is checked here; a word that is not known is an
//! error, so that none is taken for checked.

use serde_json::Value;

use super::{call, get};
use crate::support::{Gate, Plan, Rig};

const TEXT: &str = include_str!("../../docs/openapi.json");

/// Returns what is wrong with `value` by `schema`.
fn wrong(all: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (word, want) in schema.as_object().unwrap() {
        match word.as_str() {
            "description" | "default" => {}
            "$ref" => {
                let pointer = want.as_str().unwrap().trim_start_matches('#');
                found.extend(wrong(all, all.pointer(pointer).unwrap(), value, at));
            }
            "anyOf" => {
                let mut ways = want.as_array().unwrap().iter();
                if !ways.any(|way| wrong(all, way, value, at).is_empty()) {
                    found.push(format!("{at}: fits none"));
                }
            }
            "type" => {
                let types = want
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![want.clone()]);
                if !types.iter().any(|one| is(one.as_str().unwrap(), value)) {
                    found.push(format!("{at}: {value} is no {want}"));
                }
            }
            "enum" if !want.as_array().unwrap().contains(value) => {
                found.push(format!("{at}: {value} is none of {want}"));
            }
            "minimum" if value.as_f64().is_some_and(|n| n < want.as_f64().unwrap()) => {
                found.push(format!("{at}: {value} is too small"));
            }
            // Digests alone have one.
            "pattern" if !value.as_str().is_some_and(|text| text.starts_with("sha")) => {
                found.push(format!("{at}: {value} is no digest"));
            }
            "enum" | "minimum" | "pattern" => {}
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    found.extend(wrong(all, want, item, &format!("{at}[{index}]")));
                }
            }
            "properties" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    if let Some(schema) = want.get(name) {
                        found.extend(wrong(all, schema, value, &format!("{at}.{name}")));
                    }
                }
            }
            "required" => {
                let names = want
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|name| name.as_str().unwrap());
                let missing = names.filter(|name| value.is_object() && value.get(name).is_none());
                found.extend(missing.map(|name| format!("{at}.{name} is missing")));
            }
            "additionalProperties" => found.extend(surplus(all, schema, value, at)),
            other => found.push(format!(
                "{at}: the schema says {other}, which nobody checks"
            )),
        }
    }
    found
}

/// Returns what is wrong with what `properties` does not name.
fn surplus(all: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let known = |name: &str| {
        schema
            .get("properties")
            .is_some_and(|known| known.get(name).is_some())
    };
    let mut found = Vec::new();
    for (name, more) in value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| !known(name))
    {
        match &schema["additionalProperties"] {
            Value::Bool(false) => found.push(format!("{at}.{name} is not described")),
            schema => found.extend(wrong(all, schema, more, &format!("{at}.{name}"))),
        }
    }
    found
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{other} is no type"),
    }
}

/// Every path, in an order in which each can be asked.
fn calls(pin: &str) -> Vec<(&'static str, &'static str, u16, &str)> {
    vec![
        ("POST", "/v1/pins", 200, pin),
        ("GET", "/v1/pins", 200, ""),
        ("POST", "/v1/pins", 400, "{}"),
        ("GET", "/v1/status", 200, ""),
        ("GET", "/v1/live", 200, ""),
        ("GET", "/v1/blobs", 200, ""),
        ("GET", "/v1/fills", 200, ""),
        ("GET", "/v1/upstreams", 200, ""),
        ("GET", "/v1/blobs/{digest}", 200, ""),
        ("GET", "/v1/openapi.json", 200, ""),
        ("DELETE", "/v1/blobs/{digest}", 409, ""),
        ("DELETE", "/v1/pins/{reference}", 200, ""),
        ("DELETE", "/v1/pins/{reference}", 404, ""),
        ("DELETE", "/v1/blobs/{digest}", 200, ""),
        ("DELETE", "/v1/blobs/{digest}", 404, ""),
        ("POST", "/v1/warm", 400, "{}"),
        (
            "POST",
            "/v1/warm",
            202,
            r#"{"references": ["no/such"], "pin": true}"#,
        ),
        ("GET", "/v1/warm", 200, ""),
        ("GET", "/v1/warm/{id}", 200, ""),
        ("DELETE", "/v1/warm/{id}", 200, ""),
        ("GET", "/v1/warm/{id}", 200, ""),
        ("DELETE", "/v1/warm/{id}0", 404, ""),
        ("POST", "/v1/reload", 200, ""),
        ("GET", "/v1/log-level", 200, ""),
        ("PUT", "/v1/log-level", 200, r#"{"level": "debug"}"#),
        ("PUT", "/v1/log-level", 400, r#"{"level": "loud"}"#),
        ("POST", "/v1/drain", 202, ""),
        // Too late: the log says so.
        ("POST", "/v1/upgrade", 202, ""),
    ]
}

#[test]
fn every_path_answers_what_its_description_says() {
    // Who generates a client from the description would get one that fails at a customer's.
    let all: Value = serde_json::from_str(TEXT).unwrap();
    let rig = Rig::start();
    let blob = rig.hit(1, 1000);
    let gate = Gate::new();
    let slow = rig.origin.make(2, 3_000_000);
    rig.origin
        .plan_always(&slow, Some(Plan::whole().wait_at(1_500_000, &gate)));
    let mut client = rig.transship.client();
    client.ask("GET", &slow.path(), &[]);
    gate.reached();
    assert_eq!(get(&rig.transship, "/v1/openapi.json"), all);

    let body = format!("{{\"reference\": \"{}\"}}", blob.digest);
    let mut asked = Vec::new();
    let mut job = String::new();
    for (method, pattern, status, body) in calls(&body) {
        let target = pattern
            .replace("{digest}", &blob.digest)
            .replace("{reference}", &blob.digest)
            .replace("{id}", &job);
        let pattern = pattern.trim_end_matches('0');
        let reply = call(rig.transship.admin, method, &target, body);
        assert_eq!(
            reply.status(),
            status,
            "{method} {target}: {}",
            reply.text()
        );
        let operation = &all["paths"][pattern][method.to_lowercase()];
        let schema =
            &operation["responses"][status.to_string()]["content"]["application/json"]["schema"];
        assert!(
            schema.is_object(),
            "{method} {pattern} {status} is not described"
        );
        let said = reply.json();
        if (pattern, status) == ("/v1/warm", 202) {
            job = said["id"].to_string();
        }
        let wrong = wrong(&all, schema, &said, pattern);
        assert!(wrong.is_empty(), "{wrong:#?}");
        asked.push(format!("{} {pattern}", method.to_lowercase()));
    }
    // The fill that runs has a description of its own.
    let told = call(
        rig.transship.admin,
        "GET",
        &format!("/v1/blobs/{}", slow.digest),
        "",
    )
    .json();
    assert!(told["fill"].is_object());
    let schema = &all["components"]["schemas"]["Explained"];
    assert_eq!(wrong(&all, schema, &told, "filling"), Vec::<String>::new());
    for (path, methods) in all["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            let one = format!("{method} {path}");
            assert!(asked.contains(&one), "{one} is not tested");
        }
    }
    gate.open();
    assert!(client.reply("GET").whole);
}
