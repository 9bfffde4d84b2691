//! The next hops: from the `downstream` middleware, the `proxy` section, or the command line.
//!
//! Two sections that both name upstreams are an error: which one is meant cannot be told.

use std::time::Duration;

use url::Url;

use super::read::{Reader, Spot};
use super::report::Origin;
use super::tree::Content;
use super::walk::{DOWNSTREAM, is_disabled};
use crate::upstream::{Credentials, Hop};

/// What the two sections say.
#[derive(Debug)]
pub(super) struct Upstreams<'a> {
    pub(super) hops: Vec<(Origin, Hop)>,
    pub(super) cas: Vec<(Spot<'a>, std::path::PathBuf)>,
    pub(super) blob_ttl: Option<Duration>,
}

const KEY: &str = "middleware.registry.options.upstreams";

/// Reads both sections; `given` are the URLs of the command line, which replace those of the file.
pub(super) fn read<'a>(
    reader: &mut Reader,
    root: &Spot<'a>,
    given: &[String],
    deletes: bool,
) -> Option<Upstreams<'a>> {
    let entry = downstream_entry(reader, root);
    let downstream = entry.as_ref().map(|entry| entry.find("options"));
    let remote = root.find("proxy.remoteurl");
    let listed = downstream.as_ref().map(|options| options.find("upstreams"));
    let named = listed.as_ref().filter(|spot| spot.node().is_some());
    let both = named.filter(|_| remote.node().is_some());
    if let Some(listed) = both {
        let text = format!(
            "upstreams are named here and by {} ({}): remove one of the two",
            remote.shown,
            remote.origin()
        );
        reader.report.problem(&listed.origin(), &listed.shown, text);
    }

    let blob_ttl = blob_ttl(reader, root, downstream.as_ref(), deletes);
    let cas = match &downstream {
        Some(options) => reader.paths(&options.find("cas")),
        None => Some(Vec::new()),
    };
    let proxied = proxy(reader, root);
    let from_list = match &listed {
        Some(spot) => legacy_or_plain(reader, spot),
        None => Some(Vec::new()),
    };
    let flags = from_flags(reader, given);
    if let (Some(entry), Some(listed)) = (&entry, &listed)
        && given.is_empty()
        && listed.node().is_none_or(super::tree::Node::is_empty)
        && remote.node().is_none()
    {
        let text = "names no upstream: want a list such as [https://registry.example.org]";
        reader.report.problem(&entry.origin(), &listed.shown, text);
        return None;
    }
    if both.is_some() {
        return None;
    }
    let mut hops = flags?;
    let file_hops = [from_list?, proxied?].concat();
    if hops.is_empty() {
        hops = file_hops;
    } else if file_hops.iter().any(|(_, hop)| hop.credentials.is_some()) {
        let text = "not used: --upstream replaces the upstream that this account is for";
        reader.report.warning(
            &root.find("proxy.username").origin(),
            "proxy.username",
            text,
        );
    }
    if hops.is_empty() {
        hops.push(docker_hub(reader)?);
    }
    if blob_ttl == Some(None) && root.find("proxy.ttl").node().is_none() {
        reader.row("blobttl", "never", Origin::Default);
    }
    Some(Upstreams {
        hops: without_duplicates(reader, hops),
        cas: cas?,
        blob_ttl: blob_ttl?,
    })
}

/// Returns the `downstream` entry that is in force.
fn downstream_entry<'a>(reader: &mut Reader, root: &Spot<'a>) -> Option<Spot<'a>> {
    let mut found: Option<Spot<'a>> = None;
    for entry in root.find("middleware.registry").items() {
        let Some(node) = entry.node() else { continue };
        let named = node
            .child("name")
            .is_some_and(|name| name.content == Content::Scalar(DOWNSTREAM.to_owned()));
        if !named || is_disabled(node) {
            continue;
        }
        match &found {
            Some(first) => {
                let text = format!(
                    "there is another {DOWNSTREAM} entry at {}: remove one of the two",
                    first.origin()
                );
                reader.report.problem(&entry.origin(), &entry.shown, text);
            }
            None => found = Some(entry),
        }
    }
    found
}

/// Returns how long blobs are kept without a pull: `blobttl`, else the proxy's `ttl`.
fn blob_ttl(
    reader: &mut Reader,
    root: &Spot<'_>,
    downstream: Option<&Spot<'_>>,
    deletes: bool,
) -> Option<Option<Duration>> {
    let proxy_spot = root.find("proxy.ttl");
    let proxy = reader.duration(&proxy_spot)?;
    let Some(spot) = downstream.map(|options| options.find("blobttl")) else {
        return Some(proxy.filter(|ttl| !ttl.is_zero()));
    };
    let ttl = reader.duration(&spot)?;
    if ttl.is_none() {
        return Some(proxy.filter(|ttl| !ttl.is_zero()));
    }
    if proxy.is_some() {
        let text = format!(
            "a lifetime is given here and by {} ({}): remove one of the two",
            proxy_spot.shown,
            proxy_spot.origin()
        );
        reader.report.problem(&spot.origin(), &spot.shown, text);
    }
    if !deletes {
        let text = "needs storage.delete.enabled: true, as it deletes blobs: set that, or remove blobttl to \
                    keep blobs for good";
        reader.report.problem(&spot.origin(), &spot.shown, text);
    }
    Some(ttl)
}

const UPSTREAMS_FORM: &str = "a list of URLs, or of maps with originhost and upstreamhosts, such as [https://registry.example.org]";

/// Returns the hops of an `upstreams` list in either form.
fn legacy_or_plain(reader: &mut Reader, spot: &Spot<'_>) -> Option<Vec<(Origin, Hop)>> {
    let lists = reader.list(spot, UPSTREAMS_FORM, |reader, item| {
        match item.node().map(|node| &node.content) {
            Some(Content::Map(_)) => legacy(reader, item),
            Some(Content::Scalar(_)) => hop(reader, item).map(|hop| vec![(item.origin(), hop)]),
            _ => {
                reader.refuse(item, UPSTREAMS_FORM);
                None
            }
        }
    })?;
    Some(lists.into_iter().flat_map(|(_, hops)| hops).collect())
}

/// Returns the hops of one `{originhost, upstreamhosts}`.
fn legacy(reader: &mut Reader, item: &Spot<'_>) -> Option<Vec<(Origin, Hop)>> {
    let origin = item.find("originhost");
    let caches = reader.list(&item.find("upstreamhosts"), "a list of URLs", hop);
    if origin.node().is_none() {
        let text = "has no originhost: want the URL of the registry that holds the truth";
        reader.report.problem(&item.origin(), &item.shown, text);
        return None;
    }
    let origin_hop = hop(reader, &origin)?;
    let caches = caches?;
    if caches.is_empty() {
        return Some(vec![(origin.origin(), origin_hop)]);
    }
    let behind = |hop: Hop| Hop {
        origin: Some(origin_hop.url.clone()),
        ..hop
    };
    Some(
        caches
            .into_iter()
            .map(|(spot, hop)| (spot.origin(), behind(hop)))
            .collect(),
    )
}

/// Returns the hop whose URL stands at `spot`, and leaves a row for it.
fn hop(reader: &mut Reader, spot: &Spot<'_>) -> Option<Hop> {
    let Some(Content::Scalar(text)) = spot.node().map(|node| &node.content) else {
        reader.refuse(spot, "the URL of a registry");
        return None;
    };
    match hop_url(text) {
        Ok(url) => {
            reader.row(&spot.shown, text, spot.origin());
            Some(Hop {
                url,
                origin: None,
                credentials: None,
            })
        }
        Err(want) => {
            reader.refuse(spot, &want);
            None
        }
    }
}

/// Returns the hop of the `proxy` section, if there is one.
fn proxy(reader: &mut Reader, root: &Spot<'_>) -> Option<Vec<(Origin, Hop)>> {
    let remote = root.find("proxy.remoteurl");
    let (user, pass) = (root.find("proxy.username"), root.find("proxy.password"));
    let username = reader.parsed(&user, "a user name", text);
    let password = reader.parsed(&pass, "a password", text);
    if remote.node().is_none() {
        for spot in [root.find("proxy.ttl"), user, pass] {
            if spot.node().is_some() {
                let said = "has no effect without proxy.remoteurl";
                reader.report.warning(&spot.origin(), &spot.shown, said);
            }
        }
        return Some(Vec::new());
    }
    let hop = hop(reader, &remote);
    let credentials = match (username?, password?) {
        (Some(username), Some(password)) => Some(Credentials { username, password }),
        (None, None) => None,
        (Some(_), None) => {
            let said = "has no password: give proxy.password, or remove proxy.username";
            reader.report.problem(&user.origin(), &user.shown, said);
            return None;
        }
        (None, Some(_)) => {
            let said = "has no user name: give proxy.username, or remove proxy.password";
            reader.report.problem(&pass.origin(), &pass.shown, said);
            return None;
        }
    };
    let hop = hop?;
    if credentials.is_some() && hop.url.scheme() == "http" {
        let said = "the password goes over the network unencrypted: use https://";
        reader.report.warning(&remote.origin(), &remote.shown, said);
    }
    Some(vec![(remote.origin(), Hop { credentials, ..hop })])
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn from_flags(reader: &mut Reader, given: &[String]) -> Option<Vec<(Origin, Hop)>> {
    let origin = Origin::Flag("--upstream");
    let mut hops = Some(Vec::new());
    for (index, text) in given.iter().enumerate() {
        let root = super::tree::Node::scalar(text.clone(), origin.clone());
        let spot = Spot::lone(&root, format!("upstreams[{index}]"));
        match hop(reader, &spot) {
            Some(hop) => {
                if let Some(hops) = &mut hops {
                    hops.push((origin.clone(), hop));
                }
            }
            None => hops = None,
        }
    }
    hops
}

/// Returns the hop when nobody names one.
fn docker_hub(reader: &mut Reader) -> Option<(Origin, Hop)> {
    let url = super::keys::find(KEY).map_or("", |key| key.default);
    reader.row("upstreams", url, Origin::Default);
    let url = hop_url(url).ok()?;
    let hop = Hop {
        url,
        origin: None,
        credentials: None,
    };
    Some((Origin::Default, hop))
}

/// Returns `hops` without those that repeat an earlier one, with a warning for each.
fn without_duplicates(reader: &mut Reader, hops: Vec<(Origin, Hop)>) -> Vec<(Origin, Hop)> {
    let mut kept: Vec<(Origin, Hop)> = Vec::with_capacity(hops.len());
    for (origin, hop) in hops {
        if kept.iter().any(|(_, other)| *other == hop) {
            let said = format!("{} is named twice: used once", hop.url);
            reader.report.warning(&origin, "upstreams", said);
        } else {
            kept.push((origin, hop));
        }
    }
    kept
}

/// Returns the URL of a next hop.
///
/// # Errors
///
/// What is wanted, for the operator, when `text` is not `scheme://host[:port][/path]` with the scheme `http`
/// or `https`, or carries a user, a query or a fragment.
pub(super) fn hop_url(text: &str) -> Result<Url, String> {
    const FORM: &str = "a URL such as https://registry.example.org:5000";
    if text.contains(['<', '>']) {
        return Err("a host name in place of the placeholder in <…>".to_owned());
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        let told = if text.is_empty() || text.contains(['@', ' ']) {
            FORM.to_owned()
        } else {
            format!("https:// before it (https://{text})")
        };
        return Err(told);
    };
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err("the scheme https:// or http://".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("{FORM} ({error})"))?;
    if !url.username().is_empty() || url.password().is_some() || rest.contains('@') {
        return Err(
            "a URL without user and password: those are proxy.username and proxy.password"
                .to_owned(),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("a URL without query and fragment".to_owned());
    }
    if url.host_str().is_none_or(str::is_empty) || text.contains(char::is_whitespace) {
        return Err(FORM.to_owned());
    }
    Ok(url)
}
