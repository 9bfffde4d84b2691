//! TLS at the door and towards upstreams: whom transship shows what, and whom it believes.

mod clients;
mod reload;
mod sessions;
mod upstream;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use tempfile::TempDir;

use crate::support::{Origin, PATIENCE, Transship};

/// An authority of one's own.
struct Authority(rcgen::CertifiedIssuer<'static, rcgen::KeyPair>);

/// A certificate with its key, in PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        Self(rcgen::CertifiedIssuer::self_signed(params, key).unwrap())
    }

    /// Signs a certificate for loopback with a key of its own.
    fn issue(&self) -> Pair {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let params = rcgen::CertificateParams::new(names).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Pair {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// A transship with TLS at its door and one core, its files, its authority and the origin behind it.
struct Door {
    dir: TempDir,
    authority: Authority,
    origin: Origin,
    transship: Transship,
}

impl Door {
    fn open() -> Self {
        Self::open_with("", |_| {})
    }

    /// Opens one whose `http.tls` holds `more`, in which `@DIR@` is the place of the files that `prepare`
    /// makes.
    fn open_with(more: &str, prepare: impl FnOnce(&Files)) -> Self {
        let (dir, authority) = (TempDir::new().unwrap(), Authority::new("of servers"));
        let files = Files(dir.path().to_owned());
        files.show(&authority.issue());
        prepare(&files);
        let origin = Origin::start();
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: /unused}}}}\n\
             http: {{addr: '127.0.0.1:0', tls: {{certificate: @DIR@/cert.pem, key: @DIR@/key.pem{more}}}}}\n\
             proxy: {{remoteurl: '{}'}}\n",
            origin.url()
        );
        let config = config.replace("@DIR@", &dir.path().display().to_string());
        let transship = Transship::options().config(config).cores(1).start();
        Self {
            dir,
            authority,
            origin,
            transship,
        }
    }

    fn files(&self) -> Files {
        Files(self.dir.path().to_owned())
    }

    /// Returns a client that believes the door's authority and shows nothing.
    fn client(&self) -> ClientConfig {
        self.builder().with_no_client_auth()
    }

    /// Returns a client that believes the door's authority and shows `pair`.
    fn client_with(&self, pair: &Pair) -> ClientConfig {
        self.builder()
            .with_client_auth_cert(pair.chain(), pair.key())
            .unwrap()
    }

    /// Returns a client that speaks this version alone.
    fn client_of(&self, version: &'static SupportedProtocolVersion) -> ClientConfig {
        let provider = aws_lc_rs::default_provider();
        self.builder_of(provider, &[version]).with_no_client_auth()
    }

    fn builder(&self) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        self.builder_of(aws_lc_rs::default_provider(), rustls::DEFAULT_VERSIONS)
    }

    fn builder_of(
        &self,
        provider: CryptoProvider,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ConfigBuilder<ClientConfig, WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }

    fn connect(&self, config: ClientConfig) -> io::Result<Session> {
        Session::connect(self.transship.addr, &Arc::new(config))
    }

    /// Returns the certificate that a new connection is shown.
    fn shown(&self) -> Vec<CertificateDer<'static>> {
        self.connect(self.client()).unwrap().shown()
    }
}

/// Where the door's certificates lie.
struct Files(PathBuf);

impl Files {
    /// Puts a certificate and its key in the place of those that are there, one after the other.
    fn show(&self, pair: &Pair) {
        self.put("cert.pem", &pair.certificate);
        self.put("key.pem", &pair.key);
    }

    /// Replaces a file in one step.
    fn put(&self, name: &str, text: &str) {
        let new = self.0.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.0.join(name)).unwrap();
    }
}

/// A connection after its handshake.
struct Session(StreamOwned<ClientConnection, TcpStream>);

impl Session {
    fn connect(addr: SocketAddr, config: &Arc<ClientConfig>) -> io::Result<Self> {
        let mut socket = TcpStream::connect(addr)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let name = ServerName::from(addr.ip());
        let mut tls = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(tls, socket)))
    }

    fn shown(&self) -> Vec<CertificateDer<'static>> {
        self.0.conn.peer_certificates().unwrap().to_vec()
    }

    fn ask(&mut self, path: &str, fields: &str) -> io::Result<()> {
        self.0
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes())
    }

    /// Reads a head; returns its status and the length that it tells. The body stays unread.
    fn head(&mut self) -> io::Result<(u16, usize)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).unwrap();
        let length = length.lines().next().unwrap().parse().unwrap();
        Ok((head[9..12].parse().unwrap(), length))
    }

    fn exactly(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).unwrap();
        bytes
    }

    fn get(&mut self, path: &str) -> io::Result<(u16, Vec<u8>)> {
        self.get_with(path, "")
    }

    /// Sends these lines besides.
    fn get_with(&mut self, path: &str, fields: &str) -> io::Result<(u16, Vec<u8>)> {
        self.ask(path, fields)?;
        let (status, length) = self.head()?;
        Ok((status, self.exactly(length)))
    }
}
