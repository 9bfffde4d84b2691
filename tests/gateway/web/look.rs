//! How the pages look and sound: in every window, in both schemes, by keyboard and to a screen reader.

use std::path::Path;

use serde_json::{Value, json};

use super::{NOWHERE, enter, faults, options, register};
use crate::support::{Browser, Rig};

#[test]
fn hostile_names_are_text_and_it_fits_every_window_in_both_schemes() {
    let markup =
        "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
    let cache = Rig::start();
    let gateway = options().start();
    let asia = register(
        &gateway,
        &json!({"name": "asia", "host": format!("http://{}", cache.transship.addr), "networks": ["10.1.0.0/16", "fd00:1234:5678::/48"], "isDefault": true, "adminURL": "https://cache.example.org:5001"}),
    );
    register(
        &gateway,
        &json!({"name": "europe-with-a-name-as-long-as-names-may-be-for-a-cache", "host": NOWHERE}),
    );
    let mut page = Browser::start();
    page.look(1280, "light");
    page.open(&gateway.url());
    page.until_text("title", &["Log in"]);
    shots(&mut page, "login");
    enter(&mut page, &gateway, "root", "of all");
    page.until_text("choice-list", &[" ms", "unreachable from here"]);
    page.eval(&format!(
        r#"(() => {{
        const evil = {markup:?}, long = evil + "long-".repeat(40), old = caches[0], at = "2026-11-22T01:02:03Z";
        caches.push({{...old, id: "evil", name: long, host: "https://" + "long-".repeat(30) + "x.example", networks: [evil], adminURL: evil, health: {{state: "down", reason: long, since: at}}}});
        runs = [
          {{id: "1", kind: "warm", repository: "website/ui", reference: "3-stable", target: "asia", state: "done", attempts: 1, message: "", created: at, updated: at}},
          {{id: "2", kind: "warm", repository: "website/ui", reference: "sha256:" + "0123456789abcdef".repeat(4), target: "europe", state: "waiting", attempts: 3, message: "the cache does not answer", created: at, updated: at}},
          {{id: "3", kind: "mirror", repository: long, reference: evil, target: evil, state: "failed", attempts: 9, message: long, created: at, updated: evil}}];
        accounts = [...accounts, {{name: evil, isAdmin: true, cache: "evil"}}, {{name: "bob", isAdmin: false, cache: {asia:?}}}];
        saved = "evil"; picked = "evil";
        tell(evil, "bad");
        showChoices(); showCaches(); showUsers(); showRuns();
    }})()"#
    ));
    for id in [
        "choice-list",
        "choice-note",
        "cache-rows",
        "user-rows",
        "rule-rows",
        "said",
    ] {
        let text = page.text(id);
        assert!(text.contains(markup), "{id}: {text}");
    }
    let made = page.eval("document.querySelectorAll('img, main script, header script').length");
    assert_eq!(made, 0);
    assert_ne!(page.eval("document.title"), "taken");
    shots(&mut page, "home");
    page.eval("edit(caches[0])");
    shots(&mut page, "cache-dialog");
    assert_eq!(faults(&mut page), Vec::<String>::new());
}

/// Writes pictures of the page, and holds each against what people can see.
fn shots(page: &mut Browser, name: &str) {
    for width in [360, 760, 1280, 1920] {
        for scheme in ["light", "dark"] {
            page.look(width, scheme);
            let to = Path::new(env!("CARGO_TARGET_TMPDIR"));
            page.picture(&to.join(format!("gateway-{name}-{width}-{scheme}.png")));
            let scrolls = page.eval("document.documentElement.scrollWidth - innerWidth");
            let wide = page.too_wide();
            assert_eq!(scrolls, 0, "{name} {width} {scheme}: {wide}");
            assert_eq!(wide, json!([]), "{name} {width} {scheme}");
            assert_eq!(page.faint(), json!([]), "{name} {width} {scheme}");
        }
    }
}

#[test]
fn it_is_found_by_keyboard_and_by_ear() {
    let gateway = options().start();
    let id = register(&gateway, &json!({"name": "asia", "host": NOWHERE}));
    let mut page = Browser::start();
    page.look(1280, "light");
    enter(&mut page, &gateway, "root", "of all");
    page.until_text("choice-list", &["unreachable"]);
    page.press("Tab");
    assert_eq!(page.eval("document.activeElement.className"), "skip");
    page.press("Enter");
    assert_eq!(page.eval("document.activeElement.id"), "main");
    page.press("Tab");
    assert_eq!(page.eval("document.activeElement.id"), "measure");
    page.press("Tab");
    assert_eq!(page.eval("document.activeElement.id"), "choice-of-");
    // What is drawn anew does not throw out who stands in it.
    page.eval("caches[0].isDefault = true; showChoices(); showCaches()");
    assert_eq!(page.eval("document.activeElement.id"), "choice-of-");
    let tree = page.call("Accessibility.getFullAXTree", json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let named = |role: &str| -> Vec<String> {
        let nodes = nodes.iter().filter(|node| node["role"]["value"] == role);
        let name = |node: &Value| {
            node["name"]["value"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        nodes.map(name).collect()
    };
    assert_eq!(
        (
            named("main").len(),
            named("banner").len(),
            named("navigation").len()
        ),
        (1, 1, 1)
    );
    for role in [
        "region",
        "radio",
        "button",
        "textbox",
        "searchbox",
        "table",
        "columnheader",
    ] {
        assert!(!named(role).is_empty() || role == "textbox", "{role}");
        assert!(
            named(role).iter().all(|name| !name.trim().is_empty()),
            "{role}: {:?}",
            named(role)
        );
    }
    assert_eq!(named("region").len(), 5, "{:?}", named("region"));
    assert!(named("radio").iter().any(|name| name.contains("asia")));
    assert!(
        named("button").contains(&"Remove asia".to_owned()),
        "{:?}",
        named("button")
    );
    assert!(
        page.eval(&format!("document.getElementById('remove-{id}') !== null"))
            .as_bool()
            .unwrap()
    );
}
