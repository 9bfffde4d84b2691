//! Private keys, and the files that hold them.
//!
//! A file is `<state>/keys/<kid>.pem`, PKCS #8. Refuses keys and a folder that others than their owner can read: somebody
//! may have read them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde::Serialize;
use serde_json::{Value, json};

use crate::gateway::accounts::write_private;
use crate::gateway::{Algorithm, Failure};

/// Longest file of a key.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// A key that signs.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) kid: String,
    pub(super) algorithm: Algorithm,
    pub(super) jwk: Value,
    private: EncodingKey,
}

impl Key {
    /// Makes a key.
    ///
    /// # Errors
    /// Where the system has no random bytes.
    pub(super) fn make(algorithm: Algorithm) -> Result<(Self, Vec<u8>), Failure> {
        let failed = |error| Failure::new("a new key", error);
        let pkcs8 = match algorithm {
            Algorithm::EdDsa => {
                let pair = Ed25519KeyPair::generate().map_err(failed)?;
                pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
            }
            Algorithm::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
                let pkcs8 = pair.map_err(failed)?.to_pkcs8v1().map_err(failed)?;
                pkcs8.as_ref().to_vec()
            }
        };
        let key = Self::of(&pkcs8).ok_or(Failure::new("a new key", "of no use"))?;
        Ok((key, pkcs8))
    }

    /// Returns the key of a PKCS #8 document; `None` if it is no key of Ed25519 or P-256.
    fn of(pkcs8: &[u8]) -> Option<Self> {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8(pkcs8) {
            let x = encode(pair.public_key().as_ref());
            // The thumbprint (RFC 7638 §3): required members in this order and nothing else.
            let kid = encode_hash(&format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#));
            return Some(Self {
                jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig"}),
                algorithm: Algorithm::EdDsa,
                private: EncodingKey::from_ed_der(pkcs8),
                kid,
            });
        }
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).ok()?;
        let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
        let (x, y) = (encode(x), encode(y));
        let kid = encode_hash(&format!(
            r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#
        ));
        Some(Self {
            jwk: json!({"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig"}),
            algorithm: Algorithm::Es256,
            private: EncodingKey::from_ec_der(pkcs8),
            kid,
        })
    }

    /// Returns a token of these claims.
    pub(super) fn sign(&self, claims: &impl Serialize) -> jsonwebtoken::errors::Result<String> {
        let mut header = Header::new(match self.algorithm {
            Algorithm::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        });
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.private)
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.kid)
    }
}

fn encode_hash(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// The folder of keys.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Opens the folder, which is made if it is not there.
    ///
    /// # Errors
    /// One that others can look into.
    pub(super) fn open(path: PathBuf) -> Result<Self, Failure> {
        let failed = |error| Failure::new(path.display(), error);
        let made = DirBuilder::new().mode(0o700).create(&path);
        match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
        let metadata = fs::metadata(&path).map_err(failed)?;
        check_mode(&path, metadata.permissions().mode(), "0700")?;
        Ok(Self(path))
    }

    /// Reads all keys.
    ///
    /// # Errors
    /// A file that others can read, or that holds no key.
    pub(super) fn read(&self) -> Result<Vec<Key>, Failure> {
        let failed = |error| Failure::new(self.0.display(), error);
        let mut keys = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|extension| extension == "pem") {
                keys.push(read(&path)?);
            }
        }
        Ok(keys)
    }

    /// Writes a key's file.
    ///
    /// # Errors
    /// [`Failure`] with its path.
    pub(super) fn write(&self, key: &Key, pkcs8: &[u8]) -> Result<(), Failure> {
        let base64 = STANDARD.encode(pkcs8);
        let mut pem = String::from("-----BEGIN PRIVATE KEY-----\n");
        for line in base64.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|&byte| char::from(byte)));
            pem.push('\n');
        }
        pem.push_str("-----END PRIVATE KEY-----\n");
        write_private(&self.path(&key.kid), pem.as_bytes())
    }

    /// Takes away a key's file, if it is there.
    pub(super) fn remove(&self, kid: &str) {
        let path = self.path(kid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "an old key could not be removed");
            }
            _ => {}
        }
    }

    fn path(&self, kid: &str) -> PathBuf {
        self.0.join(format!("{kid}.pem"))
    }
}

fn read(path: &Path) -> Result<Key, Failure> {
    let failed = |error| Failure::new(path.display(), error);
    let file = File::open(path).map_err(failed)?;
    // Of the file that is open, not of the path, which may be another one by now.
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    check_mode(path, mode, "0600")?;
    let mut pem = Vec::new();
    let mut file = file.take(FILE_BYTES_MAX);
    file.read_to_end(&mut pem).map_err(failed)?;
    let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok();
    let key = pkcs8.and_then(|pkcs8| Key::of(pkcs8.secret_pkcs8_der()));
    key.ok_or_else(|| Failure::new(path.display(), "no PKCS #8 key of Ed25519 or P-256"))
}

fn check_mode(path: &Path, mode: u32, want: &str) -> Result<(), Failure> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let mode = mode & 0o777;
    Err(Failure::new(
        path.display(),
        format!(
            "others can read it (mode {mode:04o}): remove it if somebody may have, else chmod {want}"
        ),
    ))
}
