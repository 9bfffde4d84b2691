//! What transship shows of itself to upstreams.

use tempfile::TempDir;

use super::{Authority, Files};
use crate::support::{Origin, Plan, Tls, Transship, assert_same};

/// A transship before an origin, whose files lie in `dir`.
fn cache(dir: &TempDir, origin: &Origin, tls: &Tls, more: &str) -> Transship {
    let files = Files(dir.path().to_owned());
    files.put("ca.pem", &tls.authority);
    let config = format!(
        "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
         middleware: {{registry: [{{name: downstream, options: {{upstreams: ['{}'], cas: [@DIR@/ca.pem]}}}}]}}\n\
         {more}\n",
        origin.url()
    );
    let config = config.replace("@DIR@", &dir.path().display().to_string());
    Transship::options().config(config).start()
}

const OURS: &str =
    "transship: {upstream: {client_certificate: @DIR@/cert.pem, client_key: @DIR@/key.pem}}";

#[test]
fn an_upstream_that_wants_a_certificate_is_shown_ours() {
    // A registry behind mutual TLS would be no upstream at all.
    let (dir, clients) = (TempDir::new().unwrap(), Authority::new("of caches"));
    Files(dir.path().to_owned()).show(&clients.issue());
    let tls = Tls::new().demanding(&clients.pem());
    let origin = Origin::start_tls(&tls);
    let blob = origin.make(1, 300_000);
    let reply = cache(&dir, &origin, &tls, OURS).get(&blob.path());
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_same(&reply.body, &blob.bytes);

    // Without one, the log says what is missing.
    let bare = cache(&dir, &origin, &tls, "");
    assert_eq!(bare.get(&blob.path()).status(), 502);
    let told = "give `transship.upstream.client_certificate`";
    bare.process.line(|line| line.contains(told)).unwrap();

    // One that the upstream does not believe is no better.
    Files(dir.path().to_owned()).show(&Authority::new("of strangers").issue());
    let stranger = cache(&dir, &origin, &tls, OURS);
    assert_eq!(stranger.get(&blob.path()).status(), 502);
    assert_eq!(origin.count("GET", &blob.path()), 1);
}

#[test]
fn whom_an_upstream_redirects_to_is_not_shown_our_certificate() {
    // A content network learns who asks, and any host that an upstream names could collect it.
    let (dir, clients) = (TempDir::new().unwrap(), Authority::new("of caches"));
    Files(dir.path().to_owned()).show(&clients.issue());
    let tls = Tls::new();
    let origin = Origin::start_tls(&tls.clone().demanding(&clients.pem()));
    let network = Origin::start_tls(&tls.clone().demanding(&clients.pem()));
    let blob = origin.make(2, 1000);
    network.hold_file("/file", &blob);
    let redirect = Plan::redirect(format!("{}/file", network.url()));
    origin.plan(&blob, redirect.clone());
    let refused = cache(&dir, &origin, &tls, OURS).get(&blob.path());
    assert_eq!(refused.status(), 502);
    assert_eq!(network.count("GET", "/file"), 0);

    // Unless the operator says that it may be.
    origin.plan(&blob, redirect);
    let realms = format!("realms: ['{}'], client_key", network.addr);
    let trusting = cache(&dir, &origin, &tls, &OURS.replace("client_key", &realms));
    let reply = trusting.get(&blob.path());
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_same(&reply.body, &blob.bytes);
}
