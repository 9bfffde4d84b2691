//! The line `tls`: hot blobs and full handshakes over TLS 1.3, against nginx with OpenSSL.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup,
    SignatureScheme,
};
use tempfile::TempDir;

use super::support::{Blob, Tls, Transship};
use super::{Hot, Nginx, Pair, Scale, Www, cpu_seconds, settle, size, start, wrk_on};

/// Connections that shake hands at the same time.
const HANDSHAKE_THREADS: usize = 4;

/// Requests and handshakes of transship with one core, against nginx with one worker.
pub(super) fn tls(scale: &Scale) {
    println!(
        "\ntls: TLS 1.3 with AES-128-GCM, X25519 and one P-256 certificate; server on core 0, client on \
         core 1, {} runs",
        scale.runs
    );
    let parties = Parties::start();
    for hot in &scale.tls {
        parties.hot(hot, scale.runs);
    }
    parties.handshakes(scale);
}

struct Parties {
    www: Www,
    origin: Nginx,
    peer: Nginx,
    ours: Transship,
    /// Holds the certificate, its key, and OpenSSL's settings for wrk.
    dir: TempDir,
    blobs: std::cell::Cell<usize>,
}

impl Parties {
    fn start() -> Self {
        let (dir, www, tls) = (TempDir::new().unwrap(), Www::new(), Tls::new());
        let path = |name: &str| dir.path().join(name).display().to_string();
        std::fs::write(path("cert.pem"), &tls.certificate).unwrap();
        std::fs::write(path("key.pem"), &tls.key).unwrap();
        std::fs::write(path("openssl.cnf"), OPENSSL).unwrap();
        let origin = Nginx::origin(&www);
        let peer = Nginx::start(include_str!("../peers/nginx-tls.conf"), |_| {
            vec![
                ("@CERTIFICATE@", path("cert.pem")),
                ("@KEY@", path("key.pem")),
                ("@WWW@", www.path().display().to_string()),
            ]
        });
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
             http: {{addr: '127.0.0.1:0', tls: {{certificate: {}, key: {}, minimumtls: tls1.3}}}}\n",
            path("cert.pem"),
            path("key.pem"),
        );
        let options = Transship::options()
            .config(config)
            .cores(1)
            .under(&["taskset", "-c", "0"]);
        let ours = start(options, &origin.url());
        Self {
            www,
            origin,
            peer,
            ours,
            dir,
            blobs: std::cell::Cell::new(0),
        }
    }

    fn hot(&self, hot: &Hot, runs: usize) {
        let path = self.www.add(&Blob::seeded(hot.bytes as u64, hot.bytes));
        get(self.ours.addr, &path, hot.bytes);
        self.blobs.set(self.blobs.get() + 1);
        settle(&self.ours, self.blobs.get());
        let settings = self.dir.path().join("openssl.cnf");
        let run = |addr: SocketAddr, server| {
            let url = format!("https://{addr}{path}");
            wrk_on(&url, hot, server, &[("OPENSSL_CONF", &settings)])
        };
        let (mut cpu, mut wall) = (Pair::default(), Pair::default());
        for _ in 0..runs {
            for (is_ours, addr, id) in self.sides() {
                let shown = run(addr, id);
                cpu.push(is_ours, shown.per_cpu_second);
                wall.push(is_ours, shown.per_second);
            }
        }
        let what = size(hot.bytes);
        cpu.print_ratio(
            &format!("{what} requests per CPU second"),
            "nginx",
            hot.wanted,
        );
        wall.print_ratio(&format!("{what} requests per second"), "nginx", 0.0);
    }

    fn handshakes(&self, scale: &Scale) {
        let (mut cpu, mut wall) = (Pair::default(), Pair::default());
        for _ in 0..scale.runs {
            for (is_ours, addr, id) in self.sides() {
                let before = cpu_seconds(id);
                let start = Instant::now();
                let count = shake_hands(addr, Duration::from_secs(scale.handshake_seconds)) as f64;
                wall.push(is_ours, count / start.elapsed().as_secs_f64());
                cpu.push(is_ours, count / (cpu_seconds(id) - before).max(0.01));
            }
        }
        cpu.print_ratio("full handshakes per CPU second", "nginx", 1.0);
        wall.print_ratio("full handshakes per second", "nginx", 0.0);
    }

    fn sides(&self) -> [(bool, SocketAddr, u32); 2] {
        [
            (true, self.ours.addr, self.ours.process.id()),
            (false, self.peer.addr, self.peer.process.id()),
        ]
    }
}

/// What wrk's OpenSSL may offer.
const OPENSSL: &str = "openssl_conf = init
[init]
ssl_conf = ssl
[ssl]
system_default = settings
[settings]
Ciphersuites = TLS_AES_128_GCM_SHA256
Groups = X25519
";

/// Shakes hands for this long on core 1, each time in full; returns how often.
fn shake_hands(addr: SocketAddr, within: Duration) -> u64 {
    let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let config = Arc::new(client_config());
    std::thread::scope(|scope| {
        for _ in 0..HANDSHAKE_THREADS {
            scope.spawn(|| {
                let mut core = rustix::thread::CpuSet::new();
                core.set(1);
                rustix::thread::sched_setaffinity(None, &core).unwrap();
                while !over.load(Ordering::Relaxed) {
                    let (_, tls) = connect(addr, &config);
                    assert_eq!(tls.handshake_kind(), Some(HandshakeKind::Full));
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(within);
        over.store(true, Ordering::Relaxed);
    });
    count.into_inner()
}

fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> (TcpStream, ClientConnection) {
    let mut socket = TcpStream::connect(addr).unwrap();
    let name = ServerName::from(addr.ip());
    let mut tls = ClientConnection::new(Arc::clone(config), name).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket).unwrap();
    }
    (socket, tls)
}

/// Fetches a blob once.
fn get(addr: SocketAddr, path: &str, bytes: usize) {
    let (socket, tls) = connect(addr, &Arc::new(client_config()));
    let mut stream = rustls::StreamOwned::new(tls, socket);
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 200 ") && reply.len() > bytes);
}

fn client_config() -> ClientConfig {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    let only = CipherSuite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.retain(|suite| suite.suite() == only);
    provider
        .kx_groups
        .retain(|group| group.name() == NamedGroup::X25519);
    let provider = Arc::new(provider);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible(provider)))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// Believes everybody: the client must not be what is measured.
#[derive(Debug)]
struct Gullible(Arc<CryptoProvider>);

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
