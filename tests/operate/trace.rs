//! W3C trace context: what an origin and a log are told of a client's trace.

use tempfile::TempDir;

use crate::support::{Blob, Plan, Reply, Rig, Transship, until};

const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn pull(rig: &Rig, target: &str, fields: &[(&str, &str)]) -> Reply {
    rig.transship.client().call("GET", target, fields)
}

/// What the origin was sent with the requests for this path: `traceparent`, `tracestate`.
fn sent(rig: &Rig, path: &str) -> Vec<(Option<String>, Option<String>)> {
    let seen = rig.origin.seen();
    let seen = seen.iter().filter(|seen| seen.path() == path);
    let field = |value: Option<&str>| value.map(ToOwned::to_owned);
    seen.map(|seen| {
        (
            field(seen.field("traceparent")),
            field(seen.field("tracestate")),
        )
    })
    .collect()
}

fn blob(rig: &Rig, seed: u64) -> Blob {
    rig.origin.make(seed, 1000)
}

#[test]
fn a_trace_goes_on_upstream_under_a_parent_of_ours() {
    let rig = Rig::start();
    let fields = [("traceparent", PARENT), ("tracestate", "a=1, b=2")];
    let (one, two) = (blob(&rig, 1), blob(&rig, 2));
    rig.origin.tag("test/image", "1", "{}");
    for path in [&one.path(), &two.path(), "/v2/test/image/manifests/1"] {
        pull(&rig, path, &fields);
    }
    let mut spans = Vec::new();
    for path in [&one.path(), &two.path(), "/v2/test/image/manifests/1"] {
        let sent = sent(&rig, path);
        assert!(!sent.is_empty(), "{path} was asked for");
        for (parent, state) in sent {
            let parent = parent.unwrap();
            assert!(parent.starts_with(&format!("00-{ID}-")), "{parent}");
            assert!(
                parent.ends_with("-01") && parent.len() == PARENT.len(),
                "{parent}"
            );
            assert_ne!(parent, PARENT);
            assert_eq!(state.as_deref(), Some("a=1,b=2"));
            assert!(!spans.contains(&parent), "each request has its own id");
            spans.push(parent);
        }
    }
}

#[test]
fn what_is_no_trace_is_not_passed_on_and_nothing_is_made_up() {
    // A cache that passes on what it is sent would carry anybody's bytes into the origin's logs.
    let rig = Rig::start();
    let long = format!("a={}", "x".repeat(600));
    let cases: [(&[(&str, &str)], bool); 6] = [
        (&[], false),
        (&[("traceparent", "00-zz")], false),
        (&[("traceparent", PARENT), ("traceparent", PARENT)], false),
        (&[("tracestate", "a=1")], false),
        (&[("traceparent", PARENT), ("tracestate", &long)], true),
        (&[("traceparent", PARENT), ("tracestate", "A=1")], true),
    ];
    for (seed, (fields, is_trace)) in (10..).zip(cases) {
        let blob = blob(&rig, seed);
        assert!(pull(&rig, &blob.path(), fields).whole);
        for (parent, state) in sent(&rig, &blob.path()) {
            assert_eq!(parent.is_some(), is_trace, "{fields:?}");
            assert_eq!(state, None, "{fields:?}");
        }
    }
}

#[test]
fn a_traces_id_is_in_the_access_log_and_with_what_went_wrong() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("access.log");
    let yaml = format!(
        "version: 0.1\ntransship: {{access_log: {{output: {}, format: json}}}}\n",
        path.display()
    );
    let rig = Rig::with(Transship::options().config(yaml));
    let blob = blob(&rig, 1);
    rig.origin
        .plan_always(&blob, Some(Plan::whole().corrupt(500)));
    pull(&rig, &blob.path(), &[("traceparent", PARENT)]);
    let failed = |line: &str| line.contains("fill failed") && line.contains(ID);
    rig.transship.process.line(failed).unwrap();
    pull(&rig, "/v2/", &[]);
    until("both are logged", || {
        std::fs::read_to_string(&path).is_ok_and(|text| text.matches('\n').count() == 2)
    });
    let text = std::fs::read_to_string(&path).unwrap();
    let ids = text.lines().map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["trace_id"].clone()
    });
    let mut ids: Vec<_> = ids.collect();
    // Two cores write when they get to it.
    ids.sort_by_key(ToString::to_string);
    assert_eq!(ids, [serde_json::json!(ID), serde_json::json!(null)]);
}
