//! A scripted origin: a registry of plain threads that misbehaves exactly as told.
//!
//! Without a script it is an honest registry: blobs with single ranges, manifests with conditional
//! requests, token flow if asked for. A [`Plan`] changes the answer to one GET of one blob. It
//! waits at a [`Gate`], never for a time, and counts what a test may want to assert: requests,
//! body bytes and connections.

mod gate;
mod plan;
mod reply;
mod rights;
mod wire;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub use gate::Gate;
pub use plan::Plan;
pub use wire::Tls;
pub(super) use wire::Wire;

use super::blob::Blob;
use rights::Rights;

/// The media type of the manifests it holds.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A listening origin; dropping it opens every gate and closes every connection.
pub struct Origin {
    pub addr: SocketAddr,
    scheme: &'static str,
    shared: Arc<Shared>,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// With the query.
    pub target: String,
    pub fields: Vec<(String, String)>,
}

#[derive(Default)]
struct Shared {
    content: Mutex<Content>,
    seen: Mutex<Vec<Seen>>,
    /// Bytes of response bodies handed to the kernel, by path without the query.
    sent: Mutex<HashMap<String, u64>>,
    sockets: Mutex<Vec<TcpStream>>,
    gates: Mutex<Vec<Gate>>,
    connections: AtomicUsize,
    stopped: AtomicBool,
}

#[derive(Default)]
struct Content {
    blobs: HashMap<String, Blob>,
    plans: HashMap<String, VecDeque<Plan>>,
    /// For every GET of a blob that no other plan is for.
    lasting_plans: HashMap<String, Plan>,
    /// Served at exactly this path, outside of the registry API.
    files: HashMap<String, Blob>,
    /// Key: repository, `/`, tag or digest.
    manifests: HashMap<String, Blob>,
    tags: Vec<String>,
    /// When set, the API wants a token from this realm.
    realm: Option<String>,
    tokens: HashSet<String>,
    rights: Rights,
    overload: Option<u16>,
    has_login_page: bool,
    refuses_heads: bool,
    /// Where requests for blobs that somebody may pull are sent.
    blob_storage: Option<String>,
    hanging: Option<Gate>,
    /// Repositories of a blob that not every one has.
    homes: HashMap<String, HashSet<String>>,
}

impl Origin {
    pub fn start() -> Self {
        Self::start_on("127.0.0.1", None)
    }

    /// Listens on another loopback address: another host, in every respect that matters here.
    pub fn start_elsewhere() -> Self {
        Self::start_on("127.0.0.2", None)
    }

    pub fn start_tls(tls: &Tls) -> Self {
        Self::start_on("127.0.0.1", Some(tls.clone()))
    }

    fn start_on(host: &str, tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind((host, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting, tls.as_ref()));
        Self {
            addr,
            scheme,
            shared,
        }
    }

    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// Holds this blob in every repository.
    pub fn hold(&self, blob: &Blob) {
        let mut content = self.shared.content.lock().unwrap();
        content.blobs.insert(blob.digest.clone(), blob.clone());
    }

    /// Holds this blob in these repositories and in no other.
    pub fn hold_in(&self, repositories: &[&str], blob: &Blob) {
        self.hold(blob);
        let mut content = self.shared.content.lock().unwrap();
        let homes = repositories.iter().map(ToString::to_string).collect();
        content.homes.insert(blob.digest.clone(), homes);
    }

    /// Lets whoever shows this `Authorization` pull from the repository; the empty one lets anybody.
    /// From the first grant on nobody may pull without one.
    pub fn grant(&self, repository: &str, authorization: &str) {
        let mut content = self.shared.content.lock().unwrap();
        content.rights.grant(repository, authorization);
    }

    /// Takes a right back.
    pub fn revoke(&self, repository: &str, authorization: &str) {
        let mut content = self.shared.content.lock().unwrap();
        content.rights.revoke(repository, authorization);
    }

    /// Answers everything with this status from here on, or again as it should.
    pub fn overload(&self, status: Option<u16>) {
        self.shared.content.lock().unwrap().overload = status;
    }

    /// Answers everything with a page for people, as a proxy does to whoever is not logged in.
    pub fn show_login_page(&self, shows: bool) {
        self.shared.content.lock().unwrap().has_login_page = shows;
    }

    /// Answers HEAD with 403, as storage does whose addresses are signed for GET.
    pub fn refuse_heads(&self) {
        self.shared.content.lock().unwrap().refuses_heads = true;
    }

    /// Sends those who may pull a blob there.
    pub fn redirect_blobs(&self, location: &str) {
        let mut content = self.shared.content.lock().unwrap();
        content.blob_storage = Some(location.to_owned());
    }

    /// Answers nothing until the gate is opened.
    pub fn hang(&self) -> Gate {
        let gate = Gate::new();
        self.shared.gates.lock().unwrap().push(gate.clone());
        self.shared.content.lock().unwrap().hanging = Some(gate.clone());
        gate
    }

    /// Says this to those who are not logged in.
    pub fn challenge(&self, challenge: &str) {
        let mut content = self.shared.content.lock().unwrap();
        challenge.clone_into(&mut content.rights.challenge);
    }

    /// Makes a blob from a seed and holds it.
    pub fn make(&self, seed: u64, size: usize) -> Blob {
        let blob = Blob::seeded(seed, size);
        self.hold(&blob);
        blob
    }

    /// Serves these bytes at a path of its own, as a content network does.
    pub fn hold_file(&self, path: &str, blob: &Blob) {
        let mut content = self.shared.content.lock().unwrap();
        content.files.insert(path.to_owned(), blob.clone());
    }

    /// Points `repository:tag` at a manifest with this text and returns its digest.
    pub fn tag(&self, repository: &str, tag: &str, manifest: &str) -> String {
        let blob = Blob::new(manifest.as_bytes().to_vec());
        let digest = blob.digest.clone();
        let mut content = self.shared.content.lock().unwrap();
        for name in [tag, &digest] {
            let key = format!("{repository}/{name}");
            content.manifests.insert(key, blob.clone());
        }
        if !content.tags.iter().any(|known| known == tag) {
            content.tags.push(tag.to_owned());
        }
        digest
    }

    /// Serves this text under a digest that need not be its own.
    pub fn forge_manifest(&self, repository: &str, digest: &str, manifest: &str) {
        let mut forged = Blob::new(manifest.as_bytes().to_vec());
        digest.clone_into(&mut forged.digest);
        let mut content = self.shared.content.lock().unwrap();
        content
            .manifests
            .insert(format!("{repository}/{digest}"), forged);
    }

    /// The next GET of this blob goes by `plan`; those after it by the next plan, or honestly.
    pub fn plan(&self, blob: &Blob, plan: Plan) {
        let mut gates = self.shared.gates.lock().unwrap();
        gates.extend(plan.gates().cloned());
        let mut content = self.shared.content.lock().unwrap();
        let plans = content.plans.entry(blob.digest.clone()).or_default();
        plans.push_back(plan);
    }

    /// Every GET of this blob goes by `plan` that no other plan is for; `None` is honestly.
    pub fn plan_always(&self, blob: &Blob, plan: Option<Plan>) {
        let plans = &mut self.shared.content.lock().unwrap().lasting_plans;
        match plan {
            Some(plan) => plans.insert(blob.digest.clone(), plan),
            None => plans.remove(&blob.digest),
        };
    }

    /// From here on the API wants a bearer token, to be had from `realm`.
    pub fn require_token(&self, realm: &str) {
        self.shared.content.lock().unwrap().realm = Some(realm.to_owned());
    }

    /// Its own token endpoint.
    pub fn realm(&self) -> String {
        format!("{}/token", self.url())
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How often this path was asked for with this method.
    pub fn count(&self, method: &str, path: &str) -> usize {
        let seen = self.shared.seen.lock().unwrap();
        seen.iter()
            .filter(|seen| seen.method == method && seen.path() == path)
            .count()
    }

    /// Body bytes sent for this path, all requests together.
    pub fn sent(&self, path: &str) -> u64 {
        let sent = self.shared.sent.lock().unwrap();
        sent.get(path).copied().unwrap_or(0)
    }

    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection and refuses new ones; what it has counted stays readable.
    pub fn stop(&self) {
        if self.shared.stopped.swap(true, Ordering::SeqCst) {
            return;
        }
        for gate in self.shared.gates.lock().unwrap().iter() {
            gate.open();
        }
        // Wakes the listener, which sees the flag and goes.
        drop(TcpStream::connect(self.addr));
        super::until("the origin refuses connections", || {
            TcpStream::connect(self.addr).is_err()
        });
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

impl Seen {
    /// Reads the next head of a connection; `None` when it has ended.
    pub(super) fn read(wire: &mut Wire) -> Option<Self> {
        let line = wire.line()?;
        let mut words = line.split(' ');
        let method = words.next()?.to_owned();
        let target = words.next()?.to_owned();
        let mut fields = Vec::new();
        loop {
            let line = wire.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':')?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        Some(Self {
            method,
            target,
            fields,
        })
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    pub fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.fields.iter();
        let found = fields.find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>, tls: Option<&Tls>) {
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let known = socket.try_clone().unwrap();
        shared.sockets.lock().unwrap().push(known);
        let shared = Arc::clone(shared);
        let tls = tls.cloned();
        std::thread::spawn(move || reply::serve(&shared, socket, tls.as_ref()));
    }
}
