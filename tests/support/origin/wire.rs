//! A connection of the origin: plain or TLS, closed cleanly or by a reset.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A certificate for loopback addresses, signed by an authority of its own.
#[derive(Clone)]
pub struct Tls {
    /// The authority, in PEM: what `cas` has to name.
    pub authority: String,
    /// A certificate for loopback from that authority, in PEM, and its key.
    pub certificate: String,
    pub key: String,
    config: Arc<ServerConfig>,
}

impl Tls {
    pub fn new() -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        // A name of its own: a leaf named like its issuer would count as self-signed.
        let name = rcgen::DnType::CommonName;
        params
            .distinguished_name
            .push(name, "authority of the tests");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertifiedIssuer::self_signed(params, ca_key).unwrap();
        let names = ["127.0.0.1", "127.0.0.2", "localhost"].map(str::to_owned);
        let leaf_key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(names)
            .unwrap()
            .signed_by(&leaf_key, &authority)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::try_from(leaf_key.serialize_der()).unwrap(),
            )
            .unwrap();
        Self {
            authority: authority.pem(),
            certificate: leaf.pem(),
            key: leaf_key.serialize_pem(),
            config: Arc::new(config),
        }
    }

    /// Asks clients for a certificate that this authority (in PEM) vouches for, and lets in no others.
    pub fn demanding(mut self, authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(authority.as_bytes()).unwrap();
        roots.add(authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap(),
            )
            .unwrap();
        self.config = Arc::new(config);
        self
    }
}

/// What goes over the socket.
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// A connection that was accepted.
pub(in crate::support) struct Wire {
    stream: BufReader<Stream>,
    socket: TcpStream,
    resets: bool,
}

impl Wire {
    pub(in crate::support) fn new(socket: TcpStream, tls: Option<&Tls>) -> Self {
        let kept = socket.try_clone().unwrap();
        let stream = match tls {
            None => Stream::Plain(socket),
            Some(tls) => {
                let session = ServerConnection::new(Arc::clone(&tls.config)).unwrap();
                Stream::Tls(Box::new(StreamOwned::new(session, socket)))
            }
        };
        Self {
            stream: BufReader::new(stream),
            socket: kept,
            resets: false,
        }
    }

    /// Returns the next line without its end; `None` when the connection has ended.
    pub(in crate::support) fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => None,
            Ok(_) => {
                let text = String::from_utf8(line).expect("a request head is text");
                Some(text.trim_end_matches(['\r', '\n']).to_owned())
            }
        }
    }

    pub(in crate::support) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Sends half of the record that `bytes` make, so that the end of the connection falls into its midst.
    pub(in crate::support) fn tear(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut record = Vec::new();
        match self.stream.get_mut() {
            Stream::Plain(_) => record.extend_from_slice(bytes),
            Stream::Tls(stream) => {
                stream.conn.writer().write_all(bytes)?;
                while stream.conn.wants_write() {
                    stream.conn.write_tls(&mut record)?;
                }
            }
        }
        (&self.socket).write_all(&record[..record.len() / 2])
    }

    /// Makes the coming end a reset: it goes out when the last clone of the socket is dropped.
    pub(in crate::support) fn reset(&mut self) {
        self.resets = true;
        let socket = socket2::SockRef::from(&self.socket);
        let _ = socket.set_linger(Some(Duration::ZERO));
    }

    pub(in crate::support) fn peer(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// Ends the connection: with FIN, or with RST if [`Self::reset`] was called.
    pub(in crate::support) fn finish(self) {
        if !self.resets {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}
