//! The description, and the page that shows it.

use serde_json::{Value, json};

use super::{Api, CACHES, filled};
use crate::support::browser::Browser;
use crate::support::process::until;

/// Checks that `value` is what `schema` says: the part of JSON Schema that the description uses.
#[track_caller]
pub(super) fn validate(description: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let named = description.pointer(reference.strip_prefix('#').unwrap());
        return validate(description, named.expect(reference), value, at);
    }
    let types = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => panic!("{at}: a schema without a type: {schema}"),
    };
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(types.contains(&is), "{at}: {value} is none of {types:?}");
    if let Some(values) = schema["enum"].as_array() {
        assert!(
            values.contains(value),
            "{at}: {value} is none of {values:?}"
        );
    }
    for item in value.as_array().into_iter().flatten() {
        validate(description, &schema["items"], item, at);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(
            !value[name.as_str().unwrap()].is_null(),
            "{at}: {name} of {value}"
        );
    }
    for (name, item) in value.as_object().into_iter().flatten() {
        let schema = &schema["properties"][name];
        assert!(schema.is_object(), "{at}: {name} is not described");
        validate(description, schema, item, &format!("{at} {name}"));
    }
}

#[test]
fn each_described_path_is_there_and_no_other_method_is() {
    let api = Api::start();
    let paths = api.description["paths"].as_object().unwrap().clone();
    let described: Vec<&str> = paths.keys().map(String::as_str).collect();
    let want = [
        "/api/v0/accounts",
        "/api/v0/accounts/{username}/settings",
        "/api/v0/content_caches",
        "/api/v0/content_caches/{uuid}",
        "/api/v0/content_caches/{uuid}/test",
        "/api/v0/content_caches/{uuid}/users",
        "/api/v0/session",
    ];
    for path in want {
        assert!(
            described.contains(&path),
            "{path} is not described: {described:?}"
        );
    }
    for (path, item) in &paths {
        let path = filled(path);
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            let reply = api.send(method, &path, &[], "");
            let want = match (&*path, method) {
                _ if !item[method.to_lowercase()].is_object() => 405,
                ("/api/v0/session", "POST") => 415,
                ("/api/v0/session", "DELETE") => 403,
                _ => 401,
            };
            assert_eq!(reply.status(), want, "{method} {path}: {}", reply.text());
        }
    }
}

#[test]
fn the_description_is_shown_by_a_browser_with_nothing_from_elsewhere() {
    let api = Api::start();
    let page = api.gateway.get("/api/docs/", None);
    assert_eq!(page.status(), 200);
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.contains("script-src 'self'"), "{policy}");
    assert!(!policy.contains("http"), "{policy}");
    let mut browser = Browser::start();
    browser.open(&format!("{}/api/docs/", api.gateway.url()));
    let count = "document.querySelectorAll('.opblock').length";
    let want: usize = {
        let paths = api.description["paths"].as_object().unwrap();
        paths
            .values()
            .map(|item| item.as_object().unwrap().len())
            .sum()
    };
    until("all operations are shown", || {
        browser.eval(count) == json!(want)
    });
    let text = browser.eval("document.body.innerText");
    assert!(text.as_str().unwrap().contains(CACHES), "{text}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
