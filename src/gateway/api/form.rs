//! A content cache as a client sends it, and whether it holds.

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use utoipa::ToSchema;

use super::refused::Refused;
use crate::auth::Secret;
use crate::gateway::answer::ApiError;
use crate::gateway::caches::Cache;

/// The longest name, in characters.
const NAME_CHARS_MAX: usize = 100;

/// The longest address and the longest token.
const TEXT_BYTES_MAX: usize = 2048;

/// The most networks of a cache.
const NETWORKS_MAX: usize = 256;

/// A content cache to be. What is read only may be there, as it was read, and is passed over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ContentCacheForm {
    /// What people call it: no other one has that name.
    #[schema(example = "region-us", min_length = 1, max_length = 100)]
    name: String,
    /// Where clients reach it: scheme, host and port.
    #[schema(example = "https://cache.example.org:5000")]
    host: String,
    /// Clients of these networks are sent to it when they chose none.
    #[serde(default)]
    #[schema(example = json!(["10.1.0.0/16", "2001:db8:1::/48"]), max_items = 256)]
    networks: Vec<String>,
    /// Whether it is for all others who chose none. Of all caches one is; that this one is ends that of another.
    #[serde(default)]
    is_default: bool,
    /// Address of its admin API, for warming.
    #[serde(rename = "adminURL", default)]
    #[schema(example = "https://cache.example.org:5001")]
    admin_url: Option<String>,
    /// Token of its admin API. Without it the one that was there stays while `adminURL` stays; an empty one is none.
    #[serde(default)]
    #[schema(write_only, value_type = Option<String>)]
    admin_token: Option<Secretly>,
    #[serde(rename = "id", default)]
    #[schema(read_only)]
    _id: Value,
    #[serde(rename = "health", default)]
    #[schema(read_only)]
    _health: Value,
    #[serde(rename = "hasAdminToken", default)]
    #[schema(read_only)]
    _has_admin_token: Value,
}

/// A text that is not shown.
#[derive(Debug)]
pub(super) struct Secretly(Secret);

impl<'de> Deserialize<'de> for Secretly {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Self(Secret::new(&text)))
    }
}

impl ContentCacheForm {
    /// Returns the cache of the id `id`, in the place of `before` if there is one.
    pub(super) fn into_cache(self, id: String, before: Option<&Cache>) -> Result<Cache, Refused> {
        if !is_name(&self.name) {
            let max = NAME_CHARS_MAX;
            return Err(unfit(format!(
                "name: want 1 to {max} characters that can be seen, with no space at its ends"
            )));
        }
        if self.networks.len() > NETWORKS_MAX {
            return Err(unfit(format!("networks: want {NETWORKS_MAX} at most")));
        }
        let mut networks = Vec::with_capacity(self.networks.len());
        for text in &self.networks {
            let network = network(text).ok_or_else(|| {
                unfit("networks: want networks such as 10.1.0.0/16 or 2001:db8:1::/48".to_owned())
            })?;
            if !networks.contains(&network) {
                networks.push(network);
            }
        }
        let host = server(&self.host).ok_or_else(|| unfit(no_server("host")))?;
        let url = self.admin_url.filter(|text| !text.is_empty());
        let url = url.map(|text| server(&text).ok_or_else(|| unfit(no_server("adminURL"))));
        let token = self.admin_token.map(|token| token.0);
        Ok(Cache {
            admin: admin(url.transpose()?, token, before)?,
            name: self.name,
            host,
            networks,
            is_default: self.is_default,
            id,
        })
    }
}

/// Returns where the admin API is, with its token. The token that was there goes nowhere but where it went before.
fn admin(
    url: Option<Url>,
    token: Option<Secret>,
    before: Option<&Cache>,
) -> Result<Option<(Url, Option<Secret>)>, Refused> {
    let is_new = token
        .as_ref()
        .is_some_and(|token| !token.expose().is_empty());
    let Some(url) = url else {
        if is_new {
            return Err(unfit(
                "adminToken: there is no adminURL that it is for".to_owned(),
            ));
        }
        return Ok(None);
    };
    let Some(token) = token else {
        let before = before.and_then(|cache| cache.admin.as_ref());
        let kept = before.filter(|(place, _)| *place == url);
        return Ok(Some((url, kept.and_then(|(_, token)| token.clone()))));
    };
    let text = token.expose();
    if text.len() > TEXT_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(unfit("adminToken: want ASCII without spaces".to_owned()));
    }
    Ok(Some((url, is_new.then_some(token))))
}

fn unfit(detail: String) -> Refused {
    Refused::new(ApiError::InvalidContentCache, detail)
}

fn no_server(field: &str) -> String {
    format!("{field}: want scheme, host and port alone, such as https://cache.example.org:5000")
}

/// Says whether people can read a name and tell it from others.
fn is_name(text: &str) -> bool {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
            || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let count = text.chars().count();
    (1..=NAME_CHARS_MAX).contains(&count) && text.trim() == text && !text.chars().any(is_hidden)
}

/// Returns the address of a server, without anything that is below it.
fn server(text: &str) -> Option<Url> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_web = ["http", "https"].contains(&url.scheme()) && url.has_host();
    let is_plain = url.username().is_empty() && url.password().is_none();
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    (is_web && is_plain && is_bare && url.port() != Some(0)).then_some(url)
}

/// Returns a network, or that of a single address.
fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok();
    let network = network.or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)));
    network.map(|network| network.trunc())
}
