//! The whole story: three sites, a registry that knows nothing of it, real clients, TLS everywhere with an authority
//! for each server. As in the content cache's own documents: developers in the United States, in Asia and in Europe.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::gateway::Gateway;
use crate::support::image::Image;
use crate::support::process::{output, run};
use crate::support::pull::{Containerd, Podman, skopeo};
use crate::support::{Blob, DockerRegistry, FaultProxy, Gate, Harm, On, Tls, Transship, until};

/// Ann pushes and is in the United States, kim in Asia, eva in Europe; carl has no rights to the images.
const POLICY: &str = "\
admins: [root]
rules:
  - {repository: test/**, users: [ann], allow: [pull, push]}
  - {repository: test/**, users: [kim, eva], allow: [pull]}
";

struct World {
    registry: DockerRegistry,
    gateway: Gateway,
    asia: Transship,
    europe: Transship,
    dir: TempDir,
}

/// What a server of its own authority needs, in files; returns its part of a configuration.
fn pair(dir: &TempDir, name: &str) -> String {
    let tls = Tls::new();
    for (kind, text) in [
        ("ca", &tls.authority),
        ("cert", &tls.certificate),
        ("key", &tls.key),
    ] {
        fs::write(dir.path().join(format!("{name}-{kind}.pem")), text).unwrap();
    }
    let path = |kind: &str| dir.path().join(format!("{name}-{kind}.pem"));
    format!(
        "tls: {{certificate: {}, key: {}}}",
        path("cert").display(),
        path("key").display()
    )
}

/// A cache that trusts its next hop alone, and takes signed URLs alone.
fn cache(tls: &str, upstream: &str, authority: &Path) -> Transship {
    Transship::options()
        .config(format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
             http: {{addr: '127.0.0.1:0', {tls}}}\n\
             middleware:\n  registry:\n    - name: downstream\n      options:\n        \
             upstreams: [{upstream}]\n        cas: [{}]\n\
             transship: {{access: {{require_token: true}}}}\n",
            authority.display()
        ))
        .start()
}

impl World {
    fn start() -> Self {
        let (registry, dir) = (DockerRegistry::start(), TempDir::new().unwrap());
        let [gateway, asia, europe] = ["gateway", "asia", "europe"].map(|name| pair(&dir, name));
        let authority = |name: &str| dir.path().join(format!("{name}-ca.pem"));
        let users = ["root", "ann", "kim", "eva", "carl"];
        let options = Gateway::before(registry.url()).policy(POLICY);
        let options = users.iter().fold(options, |all, user| all.user(user, user));
        let gateway = options
            .http(format!("  {gateway}\n"))
            .more(format!(
                "  cas: [{}, {}]\n  probe: {{interval: 1s, timeout: 1s}}\n",
                authority("asia").display(),
                authority("europe").display()
            ))
            .start();
        let asia = cache(&asia, &gateway.secure_url(), &authority("gateway"));
        let next = format!("https://{}", asia.addr);
        let europe = cache(&europe, &next, &authority("asia"));
        let world = Self {
            registry,
            gateway,
            asia,
            europe,
            dir,
        };
        fs::create_dir(world.certificates()).unwrap();
        for name in ["gateway", "asia", "europe"] {
            let from = world.dir.path().join(format!("{name}-ca.pem"));
            fs::copy(from, world.certificates().join(format!("{name}.crt"))).unwrap();
        }
        world
    }

    /// A directory with every authority, as clients want it.
    fn certificates(&self) -> PathBuf {
        self.dir.path().join("clients")
    }

    /// Calls the API as `user`.
    #[track_caller]
    fn api(&self, user: &str, method: &str, path: &str, body: &Value) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--fail-with-body", "-X", method]);
        curl.arg("--cacert")
            .arg(self.dir.path().join("gateway-ca.pem"));
        curl.args(["-u", &format!("{user}:{user}")]);
        if !body.is_null() {
            curl.args(["-H", "Content-Type: application/json", "-d"]);
            curl.arg(body.to_string());
        }
        let said = run(curl.arg(format!("{}{path}", self.gateway.secure_url())));
        serde_json::from_str(&said).unwrap_or(Value::Null)
    }

    /// Registers a cache, waits until it is seen to be up, and returns its id.
    fn register(&self, name: &str, cache: &Transship) -> String {
        let body = json!({"name": name, "host": format!("https://{}", cache.addr)});
        let made = self.api("root", "POST", "/api/v0/content_caches", &body);
        let id = made["id"].as_str().unwrap().to_owned();
        until("the cache is up", || {
            let path = format!("/api/v0/content_caches/{id}");
            let shown = self.api("root", "GET", &path, &Value::Null);
            shown["health"]["state"] == "up"
        });
        id
    }

    fn choose(&self, user: &str, id: &str) {
        let path = format!("/api/v0/accounts/{user}/settings");
        self.api(user, "PATCH", &path, &json!({"contentCacheUUID": id}));
    }

    fn push(&self, image: &Image) {
        run(skopeo()
            .args(["copy", "--dest-creds", "ann:ann", "--dest-cert-dir"])
            .arg(self.certificates())
            .arg(format!("oci:{}:latest", image.path().display()))
            .arg(format!(
                "docker://{}/test/image:latest",
                self.gateway.host()
            )));
    }

    /// Pulls `test/image:latest` with skopeo into an empty directory.
    fn try_pull(&self, user: &str, to: &TempDir) -> Output {
        output(
            skopeo()
                .args(["copy", "--preserve-digests", "--src-creds"])
                .arg(format!("{user}:{user}"))
                .arg("--src-cert-dir")
                .arg(self.certificates())
                .arg(format!(
                    "docker://{}/test/image:latest",
                    self.gateway.host()
                ))
                .arg(format!("dir:{}", to.path().display())),
        )
    }

    /// Pulls it, and checks that it is this image.
    #[track_caller]
    fn pull(&self, user: &str, image: &Image) {
        let to = TempDir::new().unwrap();
        let pulled = self.try_pull(user, &to);
        assert!(pulled.status.success(), "{user}: {pulled:?}");
        image.assert_is_in(to.path());
    }
}

fn has(cache: &Transship, image: &Image) -> bool {
    let mut blobs = image.layers.iter().chain([&image.config]);
    blobs.all(|blob| cache.stores(&blob.digest))
}

fn has_any(cache: &Transship, image: &Image) -> bool {
    let mut blobs = image.layers.iter().chain([&image.config]);
    blobs.any(|blob| cache.stores(&blob.digest))
}

#[test]
fn developers_of_three_sites_pull_from_one_address_and_get_their_layers_nearby() {
    let world = World::start();
    let asia = world.register("asia", &world.asia);
    let europe = world.register("europe", &world.europe);
    world.choose("kim", &asia);
    world.choose("eva", &europe);
    let image = Image::make(700, &[2_000_000, 40_000]);
    world.push(&image);

    // Who chose nothing is served by the registry itself.
    world.pull("ann", &image);
    assert!(!has_any(&world.asia, &image) && !has_any(&world.europe, &image));
    // Asia has it from the registry, once; Europe from Asia.
    world.pull("kim", &image);
    until("asia has it", || has(&world.asia, &image));
    assert!(!has_any(&world.europe, &image));
    let asked = world.registry.blob_gets().0;
    world.pull("eva", &image);
    until("europe has it", || has(&world.europe, &image));
    assert_eq!(world.registry.blob_gets().0, asked, "europe's hop is asia");
    // Who may not pull it gets nothing, and is sent nowhere.
    let refused = world.try_pull("carl", &TempDir::new().unwrap());
    assert!(!refused.status.success());

    // What the tag means now is what the next pull gets, everywhere.
    let newer = Image::make(800, &[1_000_000]);
    world.push(&newer);
    world.pull("eva", &newer);
    world.pull("kim", &newer);

    // Another cache from now on.
    world.choose("eva", &asia);
    let third = Image::make(900, &[500_000]);
    world.push(&third);
    world.pull("eva", &third);
    until("asia has it", || has(&world.asia, &third));
    assert!(!has_any(&world.europe, &third));
    // A cache that is taken away while somebody chose it breaks nobody's pulls.
    let path = format!("/api/v0/content_caches/{asia}");
    world.api("root", "DELETE", &path, &Value::Null);
    let fourth = Image::make(1000, &[300_000]);
    world.push(&fourth);
    world.pull("kim", &fourth);
    assert!(!has_any(&world.asia, &fourth));
}

#[test]
fn podman_and_containerd_follow_the_redirect_to_the_cache() {
    let world = World::start();
    let asia = world.register("asia", &world.asia);
    world.choose("kim", &asia);
    let image = Image::make(1100, &[1_000_000, 1]);
    world.push(&image);
    let name = format!("{}/test/image:latest", world.gateway.host());
    let certificates = world.certificates();
    let certificates = certificates.to_str().unwrap();
    let podman = Podman::with_mirror("127.0.0.1:1");
    let pulled = podman.pull_with(&name, &["--creds", "kim:kim", "--cert-dir", certificates]);
    assert_eq!(pulled.as_deref(), Ok(&*image.manifest.digest));
    until("asia has it", || has(&world.asia, &image));
    // `ctr` takes what is on this machine for plain HTTP, whatever its options say of TLS: a `hosts.toml` does not.
    let hosts = world.dir.path().join("hosts");
    let own = hosts.join(world.gateway.host());
    fs::create_dir_all(&own).unwrap();
    let authorities =
        ["gateway", "asia"].map(|name| world.certificates().join(format!("{name}.crt")));
    let toml = format!(
        "server = \"{0}\"\n\n[host.\"{0}\"]\n  capabilities = [\"pull\", \"resolve\"]\n  ca = {authorities:?}\n",
        world.gateway.secure_url()
    );
    fs::write(own.join("hosts.toml"), toml).unwrap();
    let hits = |world: &World| {
        let metrics = world.asia.metrics();
        metrics.sum("transship_requests_total", &[("cache", "hit")])
    };
    let before = hits(&world);
    let options = ["--user", "kim:kim", "--hosts-dir", hosts.to_str().unwrap()];
    let pulled = Containerd::with_mirror("http://127.0.0.1:1").pull_with(&name, &options);
    assert_eq!(pulled, image.manifest.digest);
    assert!(hits(&world) > before, "containerd was sent to the cache");
}

#[test]
fn a_cache_that_dies_in_the_middle_of_a_pull_costs_a_retry_and_no_more() {
    let registry = DockerRegistry::start();
    let gateway = Gateway::before(registry.url())
        .user("root", "root")
        .user("ann", "ann")
        .policy(
            "admins: [root]\nrules: [{repository: test/**, users: [ann], allow: [pull, push]}]\n",
        )
        .more("  probe: {interval: 1s, timeout: 1s}\n")
        .start();
    let hop = FaultProxy::before(gateway.addr);
    let mut cache = Transship::behind(&[hop.url()], "").start();
    let image = Image::make(1200, &[8 << 20]);
    image.push_as(&gateway.host(), "ann:ann");
    let login = "Basic cm9vdDpyb290";
    let body = json!({"name": "near", "host": format!("http://{}", cache.addr), "isDefault": true});
    let made = gateway.call(
        "POST",
        "/api/v0/content_caches",
        Some(login),
        &body.to_string(),
    );
    assert_eq!(made.status(), 201, "{}", made.text());
    let health =
        || gateway.get("/api/v0/content_caches", Some(login)).json()[0]["health"]["state"].clone();
    until("the cache is up", || health() == "up");

    let layer: &Blob = &image.layers[0];
    let gate = Gate::new();
    hop.harm(&On::blob(layer), 1, &Harm::none().wait_at(4 << 20, &gate));
    let name = &format!("{}/test/image:latest", gateway.host());
    std::thread::scope(|scope| {
        let options = ["--user", "ann:ann", "--plain-http"];
        let pull = scope
            .spawn(move || Containerd::with_mirror("http://127.0.0.1:1").pull_with(name, &options));
        gate.reached();
        cache.process.signal(Signal::KILL);
        cache.process.exit();
        gate.open();
        // It asks the gateway for the rest, at once; the clients of containers/image leave that to who calls them.
        assert_eq!(pull.join().unwrap(), image.manifest.digest);
    });
    until("the cache is seen to be down", || health() == "down");
    let pulled = Podman::with_mirror("127.0.0.1:1").pull_as(name, "ann:ann");
    assert_eq!(pulled.as_deref(), Ok(&*image.manifest.digest));
}

#[test]
fn who_was_sent_to_a_dead_cache_is_served_here_when_they_ask_again() {
    let registry = DockerRegistry::start();
    let gateway = Gateway::before(registry.url())
        .user("root", "root")
        .policy(
            "admins: [root]\nrules: [{repository: test/**, users: [root], allow: [pull, push]}]\n",
        )
        .more("  probe: {interval: 1h, timeout: 1s}\n")
        .start();
    let cache = Transship::before(gateway.url());
    let image = Image::make(1300, &[1000]);
    image.push_as(&gateway.host(), "root:root");
    let login = Some("Basic cm9vdDpyb290");
    let path = "/api/v0/content_caches";
    let body = json!({"name": "near", "host": format!("http://{}", cache.addr), "isDefault": true});
    let made = gateway.call("POST", path, login, &body.to_string());
    assert_eq!(made.status(), 201, "{}", made.text());
    let health = || gateway.get(path, login).json()[0]["health"]["state"].clone();
    until("the cache is up", || health() == "up");
    let blob = |number: usize| {
        let blob = [&image.layers[0], &image.config][number];
        gateway.get(&format!("/v2/test/image/blobs/{}", blob.digest), login)
    };
    // Many do that behind one address, and get it from the cache.
    assert_eq!((blob(0).status(), blob(0).status()), (307, 307));
    cache.kill();
    assert_eq!(blob(1).status(), 307, "nobody has seen it yet");
    until("it is looked at, once in a second for all", || {
        blob(1).status() == 200
    });
    // One failure is not taken for all of them: those who ask for the first time are sent there.
    assert_eq!(health(), "up");
}
