//! A token server as registries know them: users, passwords, rights, and signed tokens.
//!
//! Source: distribution, spec/auth/token.md and jwt.md.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::signer::now;

/// What tokens are for, and who says so.
pub const SERVICE: &str = "registry.test";
pub const ISSUER: &str = "issuer.test";

/// A token server on a port of its own, for as long as the process lives.
pub struct TokenServer {
    pub realm: String,
    /// The certificate of its key, in PEM: the registry's `rootcertbundle`.
    pub certificate: String,
    state: Arc<State>,
}

struct State {
    certificate: String,
    key: EncodingKey,
    /// Repositories that may be pulled and pushed, by `user:password`; the empty one is anybody.
    rights: Mutex<HashMap<String, Vec<String>>>,
}

impl TokenServer {
    pub fn start() -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        let name = rcgen::DnType::CommonName;
        params.distinguished_name.push(name, "token server");
        let certificate = params.self_signed(&key).unwrap();
        let state = Arc::new(State {
            certificate: BASE64_STANDARD.encode(certificate.der()),
            key: EncodingKey::from_ec_der(&key.serialize_der()),
            rights: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                serving.serve(socket);
            }
        });
        Self {
            realm,
            certificate: certificate.pem(),
            state,
        }
    }

    /// Lets `user:password` pull from and push to these repositories.
    pub fn grant(&self, user: &str, repositories: &[&str]) {
        let repositories = repositories.iter().map(ToString::to_string).collect();
        let mut rights = self.state.rights.lock().unwrap();
        rights.insert(user.to_owned(), repositories);
    }

    /// The token of `user:password` for what it may do in the repository.
    pub fn token(&self, user: &str, repository: &str) -> String {
        let scope = format!("repository:{repository}:pull");
        self.state.token(user, &scope).expect("a known user")
    }
}

impl State {
    fn serve(&self, socket: TcpStream) {
        let mut reader = BufReader::new(socket);
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) if line == "\r\n" => break,
                Ok(_) => lines.push(line.trim_end().to_owned()),
            }
        }
        let user = lines.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            let basic = value.strip_prefix("Basic ")?;
            let is_it = name.eq_ignore_ascii_case("authorization");
            is_it.then(|| String::from_utf8(BASE64_STANDARD.decode(basic).unwrap()).unwrap())
        });
        let target = lines[0].split(' ').nth(1).unwrap();
        let url = url::Url::parse(&format!("http://host{target}")).unwrap();
        let mut pairs = url.query_pairs();
        let scope = pairs.find(|(name, _)| name == "scope");
        let scope = scope
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default();
        let (status, body) = match self.token(&user.unwrap_or_default(), &scope) {
            Some(token) => (200, json!({"token": token, "expires_in": 300})),
            None => (401, json!({"errors": [{"code": "UNAUTHORIZED"}]})),
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} As Asked\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        drop(reader.get_mut().write_all(head.as_bytes()));
    }

    fn token(&self, user: &str, scope: &str) -> Option<String> {
        let rights = self.rights.lock().unwrap();
        let granted = match rights.get(user) {
            Some(granted) => granted.clone(),
            None if user.is_empty() => Vec::new(),
            None => return None,
        };
        let access: Vec<Value> = scope
            .split(' ')
            .filter_map(|scope| {
                let mut parts = scope.splitn(3, ':');
                let (kind, name, actions) = (parts.next()?, parts.next()?, parts.next()?);
                let actions: Vec<_> = actions.split(',').collect();
                let is_granted = granted.iter().any(|known| known == name);
                is_granted.then(|| json!({"type": kind, "name": name, "actions": actions}))
            })
            .collect();
        let claims = json!({"iss": ISSUER, "sub": user.split(':').next(), "aud": SERVICE,
            "iat": now(), "nbf": now() - 5, "exp": now() + 300, "jti": "1", "access": access});
        let mut header = Header::new(Algorithm::ES256);
        header.x5c = Some(vec![self.certificate.clone()]);
        Some(jsonwebtoken::encode(&header, &claims, &self.key).unwrap())
    }
}
