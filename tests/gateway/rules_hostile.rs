//! Rules before a backend that forges, a target that stumbles, caches that see tickets, gateways that are killed.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::api::postgres::Postgres;
use super::rules::{ROOT, ask, gateway, mirroring, push_index, raw, reached, register, runs};
use crate::support::client::{Client, call_admin};
use crate::support::fault_proxy::{Harm, On};
use crate::support::gateway::Gateway;
use crate::support::image::Image;
use crate::support::process::{run, until};
use crate::support::pull::skopeo;
use crate::support::registry::free_host;
use crate::support::{DockerRegistry, FaultProxy, Relay, Tls, Transship};

/// Pushes `image` as `test/image:TAG`.
fn push_tag(host: &str, image: &Image, tag: &str) {
    run(skopeo()
        .args(["copy", "--dest-tls-verify=false", "--dest-creds", ROOT])
        .arg(format!("oci:{}:latest", image.path().display()))
        .arg(format!("docker://{host}/test/image:{tag}")));
}

/// Has the newest run of a target tried now.
fn retry(gateway: &Gateway, target: &str) {
    let newest = runs(gateway, target)[0].clone();
    let path = format!("/api/v0/rules/{}/retry", newest["id"].as_str().unwrap());
    assert_eq!(ask(gateway, ROOT, "POST", &path, "").0, 200);
}

fn status(addr: SocketAddr, method: &str, path: &str) -> u16 {
    Client::connect(addr).call(method, path, &[]).status()
}

/// Waits until the newest run has this in its message, after at least one attempt.
fn told(gateway: &Gateway, target: &str, text: &str) {
    until(text, || {
        let newest = runs(gateway, target)[0].clone();
        newest["message"].as_str().unwrap().contains(text)
    });
}

#[test]
fn what_a_backend_forges_is_put_nowhere() {
    let (backend, target) = (DockerRegistry::start(), DockerRegistry::start());
    let (state, way) = (TempDir::new().unwrap(), Relay::held());
    way.lead_to(free_host().parse().unwrap());
    let to = format!("{}/", way.url());
    let mut first = mirroring(backend.url(), &to, state.path());
    let image = Image::make(20, &[200_000]);
    image.push_as(&first.host(), ROOT);
    reached(&first, &to, "waiting");
    first.process.kill();

    let forger = FaultProxy::before(backend.addr());
    forger.harm_always(&On::target("/manifests/"), &Harm::none().flip(60));
    way.lead_to(target.addr());
    let second = mirroring(forger.url(), &to, state.path());
    told(&second, &to, "not what its digest says");
    forger.behave();
    forger.harm_always(&On::blob(&image.layers[0]), &Harm::none().flip(60));
    retry(&second, &to);
    told(&second, &to, "the upload was not taken: 400");
    forger.behave();
    forger.harm_always(&On::blob(&image.layers[0]), &Harm::none().cut(1000));
    retry(&second, &to);
    told(&second, &to, "blob");
    let path = "/v2/test/image/manifests/latest";
    assert_eq!(status(target.addr(), "HEAD", path), 404);
    let layer = format!("/v2/test/image/blobs/{}", image.layers[0].digest);
    assert_eq!(status(target.addr(), "HEAD", &layer), 404);
    forger.behave();
    retry(&second, &to);
    reached(&second, &to, "done");
    let copied = raw(&target.host, "test/image:latest", ROOT);
    assert_eq!(copied.as_bytes(), &*image.manifest.bytes);
}

#[test]
fn an_index_that_lacks_an_image_is_told_as_such_and_given_up() {
    let (backend, target) = (DockerRegistry::start(), DockerRegistry::start());
    let (state, way) = (TempDir::new().unwrap(), Relay::held());
    way.lead_to(free_host().parse().unwrap());
    let to = format!("{}/", way.url());
    let mut first = mirroring(backend.url(), &to, state.path());
    let images = [Image::make(30, &[1000]), Image::make(31, &[1000])];
    push_index(&first.host(), [&images[0], &images[1]]);
    reached(&first, &to, "waiting");
    first.process.kill();
    let gone = FaultProxy::before(backend.addr());
    let child = format!("/manifests/{}", images[1].manifest.digest);
    gone.harm_always(&On::target(&child), &Harm::status(404, &[]));
    way.lead_to(target.addr());
    let second = mirroring(gone.url(), &to, state.path());
    let failed = reached(&second, &to, "failed");
    let message = failed["message"].as_str().unwrap();
    assert!(
        message.contains("images that are not at the source"),
        "{message}"
    );
}

/// A registry that takes images and stumbles as it is told, each time once.
#[derive(Clone, Default)]
struct Stumbling(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    stumbles: Vec<(&'static str, &'static str, Stumble)>,
    things: HashMap<String, Vec<u8>>,
    /// Where uploads go: another server.
    uploads: String,
    credentials_elsewhere: bool,
}

#[derive(Clone, Copy)]
enum Stumble {
    Status(u16),
    Cut,
}

impl Stumbling {
    /// Returns an address that serves it; `is_elsewhere`: that uploads are sent to.
    fn listen(&self, is_elsewhere: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, all) = (listener.local_addr().unwrap(), self.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let all = all.clone();
                thread::spawn(move || all.serve(&stream, is_elsewhere));
            }
        });
        addr
    }

    fn serve(&self, stream: &TcpStream, is_elsewhere: bool) {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut lines, mut line) = (Vec::new(), String::new());
            while matches!(reader.read_line(&mut line), Ok(n) if n > 2) {
                lines.push(line.trim_end().to_ascii_lowercase());
                line.clear();
            }
            let Some(first) = lines.first().cloned() else {
                return;
            };
            let field = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name));
            let length = field("content-length: ").map_or(0, |text| text.parse().unwrap());
            let (method, path) = first.trim_end_matches(" http/1.1").split_once(' ').unwrap();
            let mut held = self.0.lock().unwrap();
            let is_it = |one: &(&str, &str, Stumble)| one.0 == method && path.contains(one.1);
            let at = held.stumbles.iter().position(is_it);
            let stumble = at.map(|at| held.stumbles.remove(at).2);
            let is_logged_in = field("authorization: ").is_some();
            if is_elsewhere {
                held.credentials_elsewhere |= is_logged_in;
            }
            drop(held);
            if let Some(Stumble::Cut) = stumble {
                let _ = reader.read_exact(&mut vec![0; length / 2]);
                let _ = stream.shutdown(Shutdown::Both);
                return;
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_err() {
                return;
            }
            let head = match stumble {
                Some(Stumble::Status(code)) => format!("{code} no"),
                _ if !is_elsewhere && !is_logged_in => {
                    "401 no\r\nWWW-Authenticate: Basic realm=x".to_owned()
                }
                _ => self.answer(method, path, body),
            };
            let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n");
            if (&mut &*stream).write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn answer(&self, method: &str, path: &str, body: Vec<u8>) -> String {
        let mut held = self.0.lock().unwrap();
        match method {
            "head" if held.things.contains_key(path.rsplit('/').next().unwrap()) => {
                "200 ok".to_owned()
            }
            "post" => format!("202 ok\r\nLocation: {}/upload?of=x", held.uploads),
            "put" => {
                let digest = path
                    .split_once("digest=")
                    .map(|(_, digest)| digest.replace("%3a", ":"));
                held.things
                    .insert(digest.unwrap_or_else(|| path.to_owned()), body);
                "201 ok".to_owned()
            }
            _ => "404 no".to_owned(),
        }
    }
}

#[test]
fn a_target_that_stumbles_is_tried_again_and_uploads_go_where_it_says() {
    let (backend, target) = (DockerRegistry::start(), Stumbling::default());
    let elsewhere = target.listen(true);
    {
        let mut held = target.0.lock().unwrap();
        held.uploads = format!("http://{elsewhere}");
        held.stumbles = vec![
            ("head", "/manifests/", Stumble::Status(503)),
            ("post", "/blobs/uploads/", Stumble::Status(429)),
            ("put", "/upload", Stumble::Status(401)),
            ("put", "/upload", Stumble::Cut),
            ("put", "/manifests/", Stumble::Status(500)),
        ];
    }
    let to = format!("http://{}/", target.listen(false));
    let rule = format!(
        "  mirror:\n  - {{repository: '**', tags: ['*'], to: '{to}', username: m, password: s3cret}}\n"
    );
    let gateway = gateway(backend.url()).more(rule).start();
    let image = Image::make(40, &[400_000, 0]);
    image.push_as(&gateway.host(), ROOT);
    until("it is done", || {
        let newest = runs(&gateway, &to).pop().unwrap_or_default();
        assert_ne!(newest["state"], "failed", "{newest}");
        if newest["state"] == "waiting" && newest["attempts"] != 0 {
            retry(&gateway, &to);
        }
        newest["state"] == "done"
    });
    let held = target.0.lock().unwrap();
    assert!(held.stumbles.is_empty());
    assert!(!held.credentials_elsewhere);
    for blob in image.layers.iter().chain([&image.config]) {
        assert_eq!(held.things[&blob.digest], *blob.bytes, "{}", blob.digest);
    }
    let manifest = &held.things["/v2/test/image/manifests/latest"];
    assert_eq!(*manifest, *image.manifest.bytes);
}

#[test]
fn a_target_with_an_authority_of_its_own_is_believed_where_it_is_named() {
    let (backend, behind) = (DockerRegistry::start(), DockerRegistry::start());
    let (tls, dir) = (Tls::new(), TempDir::new().unwrap());
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let pair = format!(
        "  tls: {{certificate: {}, key: {}}}\n",
        file("cert", &tls.certificate),
        file("key", &tls.key)
    );
    let target = Gateway::before(behind.url())
        .user("root", "root-password")
        .policy("admins: [root]\n")
        .http(pair)
        .start();
    let to = format!("{}/", target.secure_url());
    let rule = format!(
        "  mirror:\n  - {{repository: '**', to: '{to}', username: root, password: root-password}}\n"
    );
    let stranger = gateway(backend.url()).more(&rule).start();
    let image = Image::make(50, &[1000]);
    image.push_as(&stranger.host(), ROOT);
    let waiting = reached(&stranger, &to, "waiting");
    let message = waiting["message"].as_str().unwrap();
    assert!(message.contains("certificate"), "{message}");
    let cas = format!("  cas: [{}]\n", file("ca", &tls.authority));
    let friend = gateway(backend.url()).more(cas).more(rule).start();
    image.push_as(&friend.host(), ROOT);
    reached(&friend, &to, "done");
    assert_eq!(
        raw(&behind.host, "test/image:latest", ROOT).as_bytes(),
        &*image.manifest.bytes
    );
}

#[test]
fn a_run_that_is_cancelled_is_broken_off_at_the_cache() {
    let backend = DockerRegistry::start();
    let gateway = gateway(backend.url())
        .more("  warm:\n  - {repository: 'test/*', caches: [asia]}\n")
        .start();
    let way = Relay::held();
    way.lead_to(gateway.addr);
    let asia = Transship::before(way.url());
    register(&gateway, "asia", &asia);
    until("the cache is up", || {
        let (_, all) = ask(&gateway, ROOT, "GET", "/api/v0/content_caches", "");
        all[0]["health"]["state"] == "up"
    });
    way.cut();
    Image::make(60, &[1000]).push_as(&gateway.host(), ROOT);
    let jobs = || {
        let reply = call_admin(asia.admin, "GET", "/v1/warm", "");
        reply.text()
    };
    until("it is begun there", || jobs().contains("\"running\""));
    let id = runs(&gateway, "asia")[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v0/rules/{id}/cancel");
    assert_eq!(ask(&gateway, ROOT, "POST", &path, "").0, 200);
    until("it is broken off there", || {
        jobs().contains("\"cancelled\"")
    });
}

/// An admin API that takes any job, and says with which login.
fn spy() -> (SocketAddr, mpsc::Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, (send, seen)) = (listener.local_addr().unwrap(), mpsc::channel());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut reader, mut length) = (BufReader::new(stream.try_clone().unwrap()), 0);
            let (mut first, mut line) = (String::new(), String::new());
            while matches!(reader.read_line(&mut line), Ok(n) if n > 2) {
                if first.is_empty() {
                    first.clone_from(&line);
                }
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                    length = text.trim().parse().unwrap();
                }
                line.clear();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            let status = match first.starts_with("POST") {
                true => "202 Accepted",
                false => "200 OK",
            };
            if let Ok(order) = serde_json::from_slice::<Value>(&body) {
                let _ = send.send(order["login"].clone());
            }
            let job = json!({"id": 1, "state": "running"}).to_string();
            let head = format!(
                "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}",
                job.len()
            );
            let _ = stream.write_all(format!("{head}\r\n\r\n{job}").as_bytes());
        }
    });
    (addr, seen)
}

#[test]
fn a_private_image_is_warmed_with_a_ticket_that_is_good_for_nothing_else() {
    let backend = DockerRegistry::start();
    let gateway = gateway(backend.url())
        .more("  warm:\n  - {repository: 'test/image', caches: [asia, spy]}\n")
        .start();
    let options = Transship::behind(&[gateway.url()], "  access: {require_token: true}\n");
    let asia = options.start();
    register(&gateway, "asia", &asia);
    let (addr, logins) = spy();
    let form = json!({"name": "spy", "host": format!("http://{}", asia.addr),
        "adminURL": format!("http://{addr}")});
    let made = ask(
        &gateway,
        ROOT,
        "POST",
        "/api/v0/content_caches",
        &form.to_string(),
    );
    assert_eq!(made.0, 201, "{}", made.1);
    until("both are up", || {
        let (_, all) = ask(&gateway, ROOT, "GET", "/api/v0/content_caches", "");
        (0..2).all(|at| all[at]["health"]["state"] == "up")
    });
    let (image, other) = (Image::make(70, &[50_000]), Image::make(71, &[10]));
    other.push(&backend.host);
    run(skopeo()
        .args(["copy", "--src-tls-verify=false", "--dest-tls-verify=false"])
        .arg(format!("docker://{}/test/image:latest", backend.host))
        .arg(format!("docker://{}/other/secret:latest", backend.host)));
    image.push_as(&gateway.host(), ROOT);
    reached(&gateway, "asia", "done");
    assert!(asia.stores(&image.layers[0].digest));

    let login = logins.recv().unwrap();
    assert_eq!(login["username"], "cache");
    let ticket = format!("cache:{}", login["password"].as_str().unwrap());
    let get = |path: &str, authorization: &str| {
        let accept = "application/vnd.oci.image.manifest.v1+json, application/json";
        let fields = [("Authorization", authorization), ("Accept", accept)];
        Client::connect(gateway.addr).call("GET", path, &fields)
    };
    let basic = format!("Basic {}", STANDARD.encode(&ticket));
    let token = |scope: &str| {
        let reply = get(&format!("/auth/token?scope={scope}"), &basic).json();
        format!("Bearer {}", reply["token"].as_str().unwrap_or("none"))
    };
    let (own, foreign) = (
        "/v2/test/image/manifests/latest",
        "/v2/other/secret/manifests/latest",
    );
    let blob = format!("/v2/test/image/blobs/{}", image.config.digest);
    for shown in [&basic, &token("repository:test/image:pull")] {
        assert_eq!(get(own, shown).status(), 200);
        assert_eq!(
            get(&blob, shown).status(),
            200,
            "a cache is sent to no cache"
        );
        assert!([401, 403].contains(&get(foreign, shown).status()));
    }
    let wide = token("repository:other/secret:pull&scope=repository:test/image:pull,push,delete");
    assert!([401, 403].contains(&get(foreign, &wide).status()));
    for shown in [&wide, &basic] {
        let push = gateway.call("POST", "/v2/test/image/blobs/uploads/", Some(shown), "");
        assert!([401, 403].contains(&push.status()), "{}", push.status());
        let admin = get("/api/v0/rules", shown).status();
        assert!([401, 403].contains(&admin), "{admin}");
    }
    assert!([401, 403].contains(&get("/v2/_catalog", &basic).status()));
}

#[test]
fn gateways_that_share_a_database_do_each_run_once_and_take_over_from_a_dead_one() {
    let (postgres, backend, target) = (
        Postgres::start(),
        DockerRegistry::start(),
        DockerRegistry::start(),
    );
    let way = Relay::held();
    way.lead_to(target.addr());
    let to = format!("{}/", way.url());
    let start = || {
        gateway(backend.url())
            .more(format!(
                "  mirror:\n  - {{repository: '**', tags: ['*'], to: '{to}'}}\n"
            ))
            .more(format!("  database: '{}'\n", postgres.url()))
            .start()
    };
    let (mut one, other) = (start(), start());
    let image = Image::make(80, &[100_000]);
    let tags: Vec<String> = (0..12).map(|number| format!("t{number}")).collect();
    for (number, tag) in tags.iter().enumerate() {
        let by = [&one, &other][number % 2];
        push_tag(&by.host(), &image, tag);
    }
    until("all are done", || {
        runs(&other, &to)
            .iter()
            .filter(|run| run["state"] == "done")
            .count()
            == tags.len()
    });
    assert!(runs(&one, &to).iter().all(|run| run["attempts"] == 1));
    let log = target.process.log();
    for tag in &tags {
        let line = format!("\"PUT /v2/test/image/manifests/{tag} HTTP");
        assert_eq!(log.matches(&line).count(), 1, "{tag}");
    }

    drop(other);
    way.cut();
    let newer = Image::make(81, &[1000]);
    push_tag(&one.host(), &newer, "late");
    // Those of one second have no order.
    let late = |gateway: &Gateway| {
        let runs = runs(gateway, &to);
        let found = runs.iter().find(|run| run["reference"] == "late");
        found.cloned().unwrap_or_default()
    };
    until("it runs", || late(&one)["state"] == "running");
    let third = start();
    one.process.kill();
    way.lead_to(target.addr());
    until("the other one has done it", || {
        late(&third)["state"] == "done"
    });
    let done = late(&third);
    assert!(done["attempts"].as_u64() >= Some(2), "{done}");
    let copied = raw(&target.host, "test/image:late", ROOT);
    assert_eq!(copied.as_bytes(), &*newer.manifest.bytes);
}
