//! What Prometheus and Grafana see, with the real ones of what Debian has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use transship::metrics::table::rows;

use crate::support::process::{Process, output, until};
use crate::support::{Gate, Origin, Plan, Rig, Transship, client};

const RULES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/docs/prometheus/transship.rules.yml"
);
const RULES_TEST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/docs/prometheus/transship.test.yml"
);
const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/grafana/transship.json");

/// One that serves TLS, as some metrics are there only then.
fn with_tls(origin: &Origin, dir: &TempDir) -> Transship {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    fs::write(path("cert.pem"), pair.cert.pem()).unwrap();
    fs::write(path("key.pem"), pair.signing_key.serialize_pem()).unwrap();
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
         http: {{addr: '127.0.0.1:0', tls: {{certificate: {}, key: {}}}}}\n\
         proxy: {{remoteurl: '{}'}}\n",
        path("cert.pem"),
        path("key.pem"),
        origin.url()
    );
    Transship::options().config(config).start()
}

#[test]
fn each_metric_that_is_scraped_stands_in_the_table_and_the_other_way_round() {
    // Somebody would watch a metric that does not exist, or nobody one that does.
    let (origin, dir) = (Origin::start(), TempDir::new().unwrap());
    let transship = with_tls(&origin, &dir);
    let page = transship.metrics().text;
    let lines_of = |what: &str| -> BTreeMap<String, String> {
        let lines = page.lines().filter_map(|line| line.strip_prefix(what));
        lines
            .filter_map(|line| line.split_once(' '))
            .map(|(name, rest)| (name.to_owned(), rest.to_owned()))
            .collect()
    };
    let told: BTreeMap<_, _> = rows()
        .map(|row| (row.name.to_owned(), row.kind.word().to_owned()))
        .collect();
    assert_eq!(lines_of("# TYPE "), told);
    assert_eq!(lines_of("# HELP ").len(), told.len());
    for row in rows() {
        let has_labels = |line: &str| row.labels.iter().all(|l| line.contains(&format!("{l}=\"")));
        let mut samples = page.lines().filter(|line| {
            line.strip_prefix(row.name)
                .is_some_and(|rest| rest.starts_with(['{', ' ', '_']))
        });
        assert!(samples.any(has_labels), "{} has its labels", row.name);
    }
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(page.as_bytes()).unwrap();
    drop(input);
    let said = promtool.wait_with_output().unwrap();
    let text = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
    assert!(said.status.success() && text.is_empty(), "{text}");
}

#[test]
fn the_alert_rules_are_sound_and_fire_when_they_should() {
    // The night in which an alert is needed is a bad time to find that it never fires.
    for arguments in [["check", "rules", RULES], ["test", "rules", RULES_TEST]] {
        let said = output(Command::new("promtool").args(arguments));
        let text = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        assert!(said.status.success(), "{text}");
    }
}

#[test]
fn errors_are_counted_once_by_whose_fault_they_are() {
    // Whoever is on call would look in the wrong place.
    let rig = Rig::start();
    let count = |fault| {
        let metrics = rig.transship.metrics();
        metrics.sum("transship_errors_total", &[("fault", fault)])
    };
    let counts = || ["client", "upstream", "disk", "us"].map(count);
    rig.hit(1, 100_000);
    assert_eq!(rig.transship.get("/v2/a/manifests/absent").status(), 404);
    assert_eq!(counts(), [0, 0, 0, 0], "answers are no errors");
    let mut bad = rig.transship.client();
    bad.send(b"GET / HTTP/1.1\r\nBad Field: x\r\n\r\n");
    assert_eq!(bad.reply("GET").status(), 400);
    assert_eq!(counts(), [1, 0, 0, 0]);
    // One response that breaks off is one error, however often the next hop was tried.
    let broken = rig.origin.make(2, 300_000);
    rig.origin
        .plan_always(&broken, Some(Plan::whole().corrupt(1000)));
    assert!(!rig.transship.get(&broken.path()).whole);
    rig.transship
        .until_metric("transship_errors_total", &[("fault", "upstream")], 1);
    assert_eq!(counts(), [1, 1, 0, 0]);
    rig.origin.stop();
    let absent = crate::support::Blob::seeded(3, 1000);
    assert_eq!(rig.transship.get(&absent.path()).status(), 502);
    assert_eq!(counts(), [1, 2, 0, 0]);
}

#[test]
fn what_waits_for_a_fill_is_seen_while_it_does() {
    // A herd would look like an idle cache.
    let rig = Rig::start();
    let (blob, gate) = (rig.origin.make(1, 500_000), Gate::new());
    rig.origin
        .plan(&blob, Plan::whole().wait_at(200_000, &gate));
    let mut clients: Vec<_> = (0..3).map(|_| rig.transship.client()).collect();
    for client in &mut clients {
        client.ask("GET", &blob.path(), &[]);
    }
    rig.transship
        .until_metric("transship_fill_followers", &[], 3);
    gate.open();
    for client in &mut clients {
        assert!(client.reply("GET").whole);
    }
    until("nobody follows", || {
        let metrics = rig.transship.metrics();
        metrics.sum("transship_fill_followers", &[]) == 0
    });
    let metrics = rig.transship.metrics();
    assert_eq!(metrics.sum("transship_store_housekeeper", &[]), 1);
    assert_eq!(metrics.sum("transship_hit_bytes_total", &[]), 0);
    assert!(rig.transship.get(&blob.path()).whole);
    rig.transship
        .until_metric("transship_hit_bytes_total", &[], 500_000);
}

/// A real Prometheus that scrapes one transship five times a second.
struct Prometheus {
    addr: SocketAddr,
    _process: Process,
    _dir: TempDir,
}

impl Prometheus {
    fn start(transship: &Transship) -> Self {
        let dir = TempDir::new().unwrap();
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}}\n\
             rule_files: ['{RULES}']\n\
             scrape_configs: [{{job_name: transship, static_configs: [{{targets: ['{}']}}]}}]\n",
            transship.admin
        );
        fs::write(&config, text).unwrap();
        let addr = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap()
        };
        let process = Process::start(
            "prometheus",
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", dir.path().display()))
                .arg(format!("--web.listen-address={addr}")),
        );
        let ready = process.line(|line| line.contains("Server is ready to receive web requests"));
        ready.unwrap_or_else(|log| panic!("prometheus does not start:\n{log}"));
        Self {
            addr,
            _process: process,
            _dir: dir,
        }
    }

    fn api(&self, target: &str) -> Value {
        let reply = client::get(self.addr, target);
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(answer["status"], "success", "{target}: {answer}");
        answer["data"].clone()
    }

    fn query(&self, expression: &str) -> Vec<Value> {
        let all = percent_encoding::NON_ALPHANUMERIC;
        let query = percent_encoding::utf8_percent_encode(expression, all);
        let found = self.api(&format!("/api/v1/query?query={query}"));
        found["result"].as_array().unwrap().clone()
    }

    fn value(&self, expression: &str) -> Option<f64> {
        let found = self.query(expression);
        found.first()?["value"][1].as_str()?.parse().ok()
    }
}

/// Returns the metrics that an expression names; buckets and sums are their histogram.
fn named(expression: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    expression
        .split(|c| !is_part(c))
        .filter(|word| word.starts_with("transship_") || word.starts_with("process_"))
        .map(|word| word.trim_end_matches("_bucket").to_owned())
        .collect()
}

/// Returns every expression of the dashboard, with the title of its panel.
fn expressions() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_slice(&fs::read(DASHBOARD).unwrap()).unwrap();
    let mut found = Vec::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            found.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    assert!(found.len() > 30, "{}", found.len());
    found
}

fn is_known(name: &str) -> bool {
    rows().any(|row| row.name == name)
}

#[test]
fn every_panel_and_rule_has_data_in_a_real_prometheus() {
    // A panel that is empty reads as peace.
    let rig = Rig::start();
    let blob = rig.hit(1, 200_000);
    assert!(rig.transship.get(&blob.path()).whole);
    let prometheus = Prometheus::start(&rig.transship);
    until("it has scraped some times", || {
        let scrapes = prometheus.value("count_over_time(transship_build_info[1m])");
        scrapes.is_some_and(|scrapes| scrapes >= 3.0)
    });
    assert!(rig.transship.get(&blob.path()).whole);
    let hits = "sum(increase(transship_hit_bytes_total[1m]))";
    until("it has seen a hit", || {
        prometheus
            .value(hits)
            .is_some_and(|bytes| bytes > 100_000.0)
    });
    for (title, expression) in expressions() {
        let names = named(&expression);
        assert!(!names.is_empty(), "{title}: {expression}");
        for name in &names {
            assert!(is_known(name), "{title} names {name}");
        }
        let expression = expression
            .replace("$__rate_interval", "1m")
            .replace("$__range", "1m")
            .replace("$job", "transship")
            .replace("$instance", ".*");
        let found = prometheus.query(&expression);
        assert!(!found.is_empty(), "{title} is empty: {expression}");
    }
    let mut rules = Vec::new();
    until("every rule was evaluated", || {
        let groups = prometheus.api("/api/v1/rules");
        rules.clone_from(groups["groups"][0]["rules"].as_array().unwrap());
        rules.iter().all(|rule| rule["health"] != "unknown")
    });
    assert!(rules.len() >= 16);
    for rule in rules {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert_eq!(rule["state"], "inactive", "{rule}");
        let name = rule["name"].as_str().unwrap();
        for metric in named(rule["query"].as_str().unwrap()) {
            assert!(is_known(&metric), "{name} names {metric}");
        }
        let runbook = rule["annotations"]["runbook"].as_str();
        assert!(runbook.is_some_and(|text| text.len() > 40), "{name}");
    }
}
