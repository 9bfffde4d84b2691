//! Fetches the key sets that signed URLs are checked with.

use std::time::Duration;

use url::Url;

use super::Upstream;
use super::error::{Error, Phase};
use super::peer::{authority, is_same_origin};
use super::request::Request;
use super::trail::Trail;
use crate::limits::KEY_SET_BYTES_MAX;
use crate::rt;

/// Where a registry, or a cache on behalf of its origin, publishes its keys (RFC 8615).
const WELL_KNOWN: &str = "/.well-known/jwks.json";

impl Upstream {
    /// Returns where the keys of the origin are found: at each origin that the operator names behind a
    /// hop, else at the hop, which relays them. Each address once.
    #[must_use]
    pub fn key_addresses(&self) -> Vec<Url> {
        let mut found: Vec<Url> = Vec::new();
        for hop in &self.hops {
            let mut url = hop.origin.as_ref().unwrap_or(&hop.url).clone();
            url.set_path(WELL_KNOWN);
            if !found.iter().any(|known| is_same_origin(known, &url)) {
                found.push(url);
            }
        }
        found
    }

    /// Fetches the document at `url`, in nobody's name; `None` where there is none (404, 410).
    ///
    /// - `trail`: what the request passed that wants the keys.
    ///
    /// # Errors
    /// Those of an exchange, `TooLarge`, `Protocol` for any other status, and `TimedOut` when it takes
    /// longer than an answer may.
    pub async fn key_set(&self, url: &Url, trail: Trail) -> Result<Option<Vec<u8>>, Error> {
        let within = self.answer_timeout();
        let late = |_| Error::TimedOut {
            host: authority(url).to_owned(),
            phase: Phase::Head,
        };
        rt::timeout(within, self.fetch(url, trail, within))
            .await
            .unwrap_or_else(|elapsed| Err(late(elapsed)))
    }

    async fn fetch(
        &self,
        url: &Url,
        trail: Trail,
        within: Duration,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut base = url.clone();
        base.set_path("");
        base.set_query(None);
        let request = Request {
            trail,
            ..Request::get(url[url::Position::BeforePath..].to_owned())
        };
        let response = self.follow(&base, &request, None, None).await?;
        match response.status() {
            200 => {}
            404 | 410 => return Ok(None),
            _ => {
                return Err(Error::Protocol {
                    host: authority(url).to_owned(),
                    what: "neither a set of keys nor 404",
                });
            }
        }
        let keys = response.bytes_within(KEY_SET_BYTES_MAX, within).await?;
        Ok(Some(keys))
    }
}
