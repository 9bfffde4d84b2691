//! What every request of the gateway is answered with.

use std::fs::{self, DirBuilder};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use url::Url;

use super::accounts::{Accounts, CACHE_USER, LoginError};
use super::caches::Caches;
use super::identity::{Caller, Rights, Subject};
use super::options::Options;
use super::proxy::Proxy;
use super::rules::Rules;
use super::state::State;
use super::tokens::Signer;
use super::{Failure, outbound};
use crate::auth::{Authorization, Refusal, Secret};

/// The parts of a gateway, cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct App(Arc<Parts>);

/// The parts.
#[derive(Debug)]
pub(super) struct Parts {
    pub(super) options: Options,
    pub(super) state: State,
    pub(super) accounts: Accounts,
    pub(super) signer: Signer,
    pub(super) caches: Caches,
    pub(super) rules: Rules,
    pub(super) proxy: Proxy,
    /// For the backend, caches and mirrors.
    pub(super) client: reqwest::Client,
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl App {
    /// Makes the parts.
    ///
    /// # Errors
    /// [`Failure`] of any of them.
    pub(super) async fn new(options: Options) -> Result<Self, Failure> {
        let folder = &options.state;
        make_private(folder).map_err(|error| Failure::new(folder.display(), error))?;
        let client = outbound::client(&options)?;
        let state = State::open(&options).await?;
        let app = Self(Arc::new(Parts {
            accounts: Accounts::open(&options.accounts, &options.state)?,
            signer: Signer::open(&options, &state).await?,
            caches: Caches::open(state.clone(), client.clone(), options.probe).await?,
            rules: Rules::new(&options)?,
            proxy: Proxy::new(&options)?,
            state,
            client,
            options,
        }));
        app.rules.start(app.clone());
        Ok(app)
    }

    /// Returns who shows these credentials; [`Caller::nobody`] without any.
    ///
    /// # Errors
    /// `Some` of why a password was not taken; `None` where a token is not believed.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Option<LoginError>> {
        let Some(value) = headers.get(header::AUTHORIZATION) else {
            return Ok(Caller::nobody());
        };
        match Authorization::parse(value.as_bytes()) {
            Authorization::Basic { user, password } => {
                self.caller_by_password(&user, &password).await
            }
            Authorization::Bearer(token) => {
                let checked = match self.signer.check(token, now()) {
                    Err(Refusal::KeyUnknown) => {
                        self.signer.learn().await;
                        self.signer.check(token, now())
                    }
                    checked => checked,
                };
                let (subject, access) = checked.map_err(|_| None)?;
                Ok(Caller {
                    subject,
                    rights: Rights::Token(access),
                })
            }
            Authorization::Other => Err(None),
        }
    }

    /// Returns who shows this name and password: an account, or a cache with a ticket.
    ///
    /// # Errors
    /// As [`Self::caller`].
    pub(super) async fn caller_by_password(
        &self,
        user: &str,
        password: &Secret,
    ) -> Result<Caller, Option<LoginError>> {
        if user != CACHE_USER {
            self.accounts.login(user, password).await.map_err(Some)?;
            return Ok(Caller {
                subject: Subject::User(user.to_owned()),
                rights: Rights::Policy,
            });
        }
        let check = || self.signer.check_ticket(password.expose(), now());
        let checked = match check() {
            Err(Refusal::KeyUnknown) => {
                self.signer.learn().await;
                check()
            }
            checked => checked,
        };
        let (subject, access) = checked.map_err(|_| Some(LoginError::Wrong))?;
        Ok(Caller {
            subject,
            rights: Rights::Token(access),
        })
    }

    /// Returns the client's address: the peer's, or what proxies that are believed say.
    pub(super) fn client_address(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let is_believed = |address: &IpAddr| {
            let networks = &self.options.proxies;
            networks.iter().any(|network| network.contains(address))
        };
        let mut address = peer.ip().to_canonical();
        let said = headers.get_all("x-forwarded-for").iter();
        let said = said.filter_map(|value| value.to_str().ok());
        let mut hops: Vec<&str> = said.flat_map(|value| value.split(',')).collect();
        // The last is what the nearest proxy saw.
        while is_believed(&address)
            && let Some(hop) = hops.pop()
            && let Ok(before) = hop.trim().parse::<IpAddr>()
        {
            address = before.to_canonical();
        }
        address
    }

    /// Returns what the client calls the gateway: `http.host`, else the request's own `Host`.
    pub(super) fn own_url(&self, peer: SocketAddr, headers: &HeaderMap) -> Option<Url> {
        if let Some(host) = &self.options.host {
            return Some(host.clone());
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let from_proxy = {
            let networks = &self.options.proxies;
            let peer = peer.ip().to_canonical();
            networks.iter().any(|network| network.contains(&peer))
        };
        let forwarded = text("x-forwarded-proto").filter(|_| from_proxy);
        let own = if self.options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        let scheme = forwarded
            .filter(|s| ["http", "https"].contains(s))
            .unwrap_or(own);
        let host = text("host")?;
        let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
        let is_plain = host.chars().all(is_host);
        is_plain.then(|| format!("{scheme}://{host}/").parse().ok())?
    }
}

/// Makes the folder if it is not there, for this user alone: keys and passwords of caches lie in it.
fn make_private(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder.parent().unwrap_or(folder))?;
    let made = DirBuilder::new().mode(0o700).create(folder);
    // Two gateways that begin at once both make it.
    made.or_else(|error| if folder.is_dir() { Ok(()) } else { Err(error) })
}

/// Returns the time in seconds since the epoch.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
