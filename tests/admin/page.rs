//! The status page in a real browser, against traffic that is known.

use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use super::url;
use crate::support::{
    Blob, Browser, DockerRegistry, FaultProxy, Gate, Harm, On, Rig, Transship, until,
};

const MIB: usize = 1 << 20;
const SECRET: &str = "a-token-of-some-length";
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A server with one upstream that is well and one that is down.
struct Scene {
    registry: DockerRegistry,
    way: FaultProxy,
    cache: Transship,
}

impl Scene {
    fn set() -> Self {
        let registry = DockerRegistry::start();
        let way = FaultProxy::before(registry.addr());
        let upstreams = [way.url(), NOWHERE.to_owned()];
        let more = "    policy: failover\n    streams_max: 1\n";
        let cache = Transship::behind(&upstreams, more).start();
        Self {
            registry,
            way,
            cache,
        }
    }

    fn make(&self, seed: u64, size: usize) -> Blob {
        let blob = Blob::seeded(seed, size);
        self.registry.hold(&blob);
        blob
    }

    fn open(&self) -> Browser {
        let mut browser = Browser::start();
        browser.look(1920, "light");
        browser.open(&url(&self.cache));
        browser.until_text("state", &["ready"]);
        browser
    }
}

#[test]
fn every_panel_shows_what_has_happened() {
    // Who is called at night looks here first, and would believe it.
    let scene = Scene::set();
    let mut page = scene.open();
    assert_eq!(page.text("listen"), scene.cache.addr.to_string());
    assert!(page.text("top-blobs").contains("pulled again yet"));
    assert!(page.text("recent").contains("None since the start."));
    assert!(page.text("fills").contains("nothing is being fetched"));

    let blob = scene.make(1, 3 * MIB);
    assert_eq!(scene.cache.get(&blob.path()).cache(), "fwd=uri-miss");
    for _ in 0..3 {
        assert_eq!(scene.cache.get(&blob.path()).cache(), "hit");
    }
    // Throughput, as figures, as a line, and in words.
    page.until_text("saved", &["12.0 MiB to clients", "3.0 MiB from upstreams"]);
    let drawn = "document.getElementById('chart-out').getAttribute('d')";
    assert!(page.eval(drawn).as_str().unwrap().starts_with('M'));
    let words = page.eval("document.getElementById('chart-text').textContent");
    assert!(
        !words.as_str().unwrap().contains("0 B/s at most"),
        "{words}"
    );
    // Use of the cache, and the times.
    page.until_text("hit-ratio", &["75.0 %"]);
    page.until_text("byte-hit-ratio", &["75.0 %"]);
    page.until_text("uses", &["hit\n3", "miss\n1"]);
    page.until_text("statuses", &["2xx 4"]);
    let times = page.eval(
        "[...document.querySelectorAll('#first-byte-rows tr')].map(row => row.innerText.split('\\t'))",
    );
    let count = |row: usize| (times[row][0].clone(), times[row][4].clone());
    assert_eq!(count(0), ("hit".into(), "3".into()));
    assert_eq!(count(1), ("miss".into(), "1".into()));
    assert!(times[0][3].as_str().unwrap().ends_with('s'), "{times}");
    // The store, and what is pulled most.
    page.until_text("store-sum", &["3.0 MiB of"]);
    page.until_text("store-blobs", &["1, 0 pinned"]);
    page.until_text("retention", &["nothing evicted yet"]);
    page.until_text("top-blob-rows", &[&blob.digest, "test/image", "3.0 MiB"]);
    page.until_text("top-repository-rows", &["test/image"]);
    // A core tells the hits of a second with the next one of another second.
    let hits = "Number(document.querySelector('#top-repository-rows td').innerText)";
    until("the cores have told their hits", || {
        scene.cache.get(&blob.path());
        page.eval(hits).as_u64() >= Some(3)
    });
    let cores = page.eval("document.querySelectorAll('#core-list progress').length");
    assert_eq!(cores, 2);
    assert_eq!(page.complaints(), Vec::<String>::new());

    troubles(&scene, &mut page);
}

/// A fill that stands still, a blob that is not what its digest says, and then no upstream at all.
fn troubles(scene: &Scene, page: &mut Browser) {
    let slow = scene.make(2, 8 * MIB);
    let gate = Gate::new();
    let half = Harm::none().wait_at(4 * MIB as u64, &gate);
    scene.way.harm_always(&On::blob(&slow), &half);
    let mut clients = [scene.cache.client(), scene.cache.client()];
    for client in &mut clients {
        client.ask("GET", &slow.path(), &[]);
    }
    gate.reached();
    page.until_text("fill-list", &["test/image", &slow.digest, "2 followers"]);
    page.until_text("fill-list", &["of 8.0 MiB", &scene.way.addr.to_string()]);
    let progress = "(bar => bar.value / bar.max)(document.querySelector('#fill-list progress'))";
    until("the bar has moved", || {
        page.eval(progress).as_f64().is_some_and(|part| part > 0.3)
    });
    assert!(page.eval(progress).as_f64().unwrap() < 0.6);
    page.until_text("upstreams-sum", &["2 up, 0 down"]);

    let forged = scene.make(3, MIB);
    scene
        .way
        .harm_always(&On::blob(&forged), &Harm::none().flip(7));
    let mut client = scene.cache.client();
    assert!(!client.get(&forged.path()).whole);
    page.until_text("events", &[&forged.digest]);
    // The one that is well goes away, so that the other is asked.
    scene.way.die();
    let absent = Blob::seeded(4, 1000);
    assert!(scene.cache.get(&absent.path()).status() >= 500);
    page.until_text("upstreams-sum", &["0 up, 2 down"]);
    page.until_text("upstream-rows", &[NOWHERE, "down", "refused"]);
    page.until_text("events", &["warning", "127.0.0.1:1"]);
    gate.open();
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn it_fits_a_telephone_and_a_wall_in_both_schemes() {
    // A page that is cut off hides the panel that matters.
    let scene = Scene::set();
    let mut page = scene.open();
    let blobs: Vec<_> = (1..=6)
        .map(|n| scene.make(n, 700_000 * usize::try_from(n).unwrap()))
        .collect();
    let gate = Gate::new();
    let slow = scene.make(9, 12 * MIB);
    let part = Harm::none().wait_at(5 * MIB as u64, &gate);
    scene.way.harm_always(&On::blob(&slow), &part);
    let mut client = scene.cache.client();
    client.ask("GET", &slow.path(), &[]);
    gate.reached();
    for (turns, blob) in blobs.iter().enumerate() {
        for _ in 0..=turns {
            scene.cache.get(&blob.path());
        }
    }
    let forged = scene.make(10, MIB);
    scene
        .way
        .harm_always(&On::blob(&forged), &Harm::none().flip(7));
    scene.cache.get(&forged.path());
    scene.way.die();
    scene.cache.get(&Blob::seeded(11, 10).path());
    page.until_text("upstreams-sum", &["2 down"]);
    page.until_text("top-blob-rows", &[&blobs[5].digest]);
    page.until_text("events", &[&forged.digest]);
    page.eval("clearTimeout(timer)");
    hostile(&mut page);
    for width in [360, 760, 1280, 1920] {
        for scheme in ["light", "dark"] {
            page.look(width, scheme);
            let to = Path::new(env!("CARGO_TARGET_TMPDIR"));
            page.picture(&to.join(format!("status-{width}-{scheme}.png")));
            let scrolls = page.eval("document.documentElement.scrollWidth - innerWidth");
            let wide = page.too_wide();
            assert_eq!(scrolls, 0, "{width} {scheme}: {wide}");
            assert_eq!(wide, serde_json::json!([]), "{width} {scheme}");
            let faint = page.faint();
            assert_eq!(faint, serde_json::json!([]), "{width} {scheme}");
        }
    }
    gate.open();
    assert_eq!(page.complaints(), Vec::<String>::new());
}

/// Shows an answer whose every text is markup, as a registry could name a thing; it has to be shown as text.
fn hostile(page: &mut Browser) {
    let markup =
        "<img src=x onerror=\"document.title='taken'\"><script>document.title='taken'</script>";
    let answer = format!(
        r#"(() => {{
        const evil = {markup:?}, now = structuredClone(looks[looks.length - 1]);
        now.uptime_seconds += 1;
        now.fills.push({{...now.fills[0], digest: evil, repository: evil + "/" + "long-".repeat(60), upstream: evil}});
        now.upstreams.push({{...now.upstreams[0], url: evil, why: evil}});
        now.top.blobs.push({{...now.top.blobs[0], digest: evil, repositories: [evil, evil]}});
        now.top.repositories.push({{name: evil + "long-".repeat(60), hits: 1}});
        now.recent.push({{at: 1, level: "error", message: evil + "x".repeat(900), times: 3}});
        now.reasons = [evil];
        now.store.root = "/" + "long-".repeat(60);
        take(now);
    }})()"#
    );
    page.eval(&answer);
    for id in [
        "fill-list",
        "upstream-rows",
        "top-blob-rows",
        "top-repository-rows",
        "events",
        "state",
    ] {
        assert!(page.text(id).contains(markup), "{id}: {}", page.text(id));
    }
    let made = page.eval("document.querySelectorAll('main img, main script, header img').length");
    assert_eq!(made, 0);
    assert_ne!(page.eval("document.title"), "taken");
}

#[test]
fn it_is_found_by_keyboard_and_by_ear() {
    let rig = Rig::start();
    let mut page = Browser::start();
    page.open(&url(&rig.transship));
    page.until_text("state", &["ready"]);
    page.press("Tab");
    assert_eq!(page.eval("document.activeElement.className"), "skip");
    page.press("Enter");
    assert_eq!(page.eval("document.activeElement.id"), "main");
    page.press("Tab");
    assert_eq!(page.eval("document.activeElement.id"), "period-start");
    page.press("Tab");
    page.press("Enter");
    page.until_text("first-byte-period", &["last 5 min"]);
    let pressed = "document.getElementById('period-recent').getAttribute('aria-pressed')";
    assert_eq!(page.eval(pressed), "true");
    let tree = page.call("Accessibility.getFullAXTree", serde_json::json!({}));
    let nodes = tree["nodes"].as_array().unwrap();
    let named = |role: &str| -> Vec<String> {
        let nodes = nodes.iter().filter(|node| node["role"]["value"] == role);
        nodes
            .map(|node| {
                node["name"]["value"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    };
    assert_eq!((named("main").len(), named("banner").len()), (1, 1));
    assert_eq!(named("region").len(), 10, "{:?}", named("region"));
    assert!(named("region").iter().all(|name| !name.is_empty()));
    assert!(
        named("image")[0].contains("to clients"),
        "{:?}",
        named("image")
    );
    assert!(named("progressbar").iter().all(|name| !name.is_empty()));
    assert!(named("columnheader").len() >= 5);
    assert_eq!(page.complaints(), Vec::<String>::new());
}

#[test]
fn the_token_is_asked_for_and_stays_in_the_tab() {
    let server = Transship::options()
        .config(format!(
            "version: 0.1\ntransship: {{admin: {{token: {SECRET}}}}}\n"
        ))
        .start();
    let mut page = Browser::start();
    page.open(&url(&server));
    page.until_text("token-dialog", &["wants its admin token"]);
    page.until_text("banner", &["The admin token is wanted"]);
    assert_eq!(page.eval("document.activeElement.id"), "token");
    page.type_text("wrong");
    page.press("Enter");
    page.until_text("token-dialog", &["It was not accepted"]);
    page.type_text(SECRET);
    page.press("Enter");
    page.until_text("state", &["ready"]);
    assert_eq!(
        page.eval("document.getElementById('token-dialog').open"),
        false
    );
    assert_eq!(page.eval("localStorage.length"), 0);
    assert_eq!(page.eval("sessionStorage.length"), 1);
    page.eval("document.getElementById('forget').click()");
    page.until_text("token-dialog", &["wants its admin token"]);
    assert_eq!(page.eval("sessionStorage.length"), 0);
}

#[test]
fn a_server_that_is_gone_is_told_and_found_again() {
    // Figures of an hour ago would be taken for those of now.
    let rig = Rig::start();
    let mut page = Browser::start();
    page.open(&url(&rig.transship));
    page.until_text("state", &["ready"]);
    rig.transship.process.signal(Signal::STOP);
    page.until_text("state", &["no answer"]);
    page.until_text("banner", &["has not answered since"]);
    assert_eq!(
        page.eval("document.getElementById('main').dataset.stale"),
        "yes"
    );
    rig.transship.process.signal(Signal::CONT);
    page.until_text("state", &["ready"]);
    assert_eq!(page.eval("document.getElementById('banner').hidden"), true);
}

#[test]
fn the_page_may_do_nothing_but_ask_its_own_server() {
    // A page that others may frame, or that runs what it is fed, is a way into the API.
    let rig = Rig::start();
    let reply = crate::support::client::get(rig.transship.admin, "/");
    assert_eq!(reply.status(), 200);
    assert_eq!(
        reply.field("content-type"),
        Some("text/html; charset=utf-8")
    );
    let policy = reply.field("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "frame-ancestors 'none'",
        "connect-src 'self'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let mut page = Browser::start();
    page.open(&url(&rig.transship));
    page.until_text("state", &["ready"]);
    page.eval(
        "document.body.append(Object.assign(document.createElement('img'), {src: '/metrics'}))",
    );
    let ran = page.eval(
        "new Promise(done => { const one = document.createElement('script'); one.textContent = 'window.ran = 1'; \
         document.body.append(one); setTimeout(() => done(window.ran || 0)); })",
    );
    assert_eq!(ran, Value::from(0));
    let mut refused = 0;
    until("both were refused", || {
        refused += page.complaints().len();
        refused >= 2
    });
}

#[test]
fn the_page_asks_for_nothing_while_nobody_sees_it() {
    let rig = Rig::start();
    let mut page = Browser::start();
    page.open(&url(&rig.transship));
    page.until_text("state", &["ready"]);
    page.eval("window.asked = 0; window.fetch = () => { window.asked += 1; return new Promise(() => {}); }; clearTimeout(timer)");
    page.eval(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true}); poll()",
    );
    assert_eq!(page.eval("window.asked"), 0);
    page.eval("Object.defineProperty(document, 'hidden', {value: false}); document.dispatchEvent(new Event('visibilitychange'))");
    assert_eq!(page.eval("window.asked"), 1);
}
