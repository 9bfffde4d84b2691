//! What each route answers. All of it may block and runs on helper threads: never on a core, and not on the
//! admin thread, which answers health meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use serde::Deserialize;

use super::charts::Charts;
use super::page::{Page, Then};
use super::routes::Call;
use super::views::{self, Blob, Explained, Fill, Stored};
use super::{Parts, live, paging};
use crate::digest::Digest;
use crate::metrics::Sample;
use crate::store::{self, Purge, Reference};

/// Most repositories that are named for one digest.
const REPOSITORIES_MAX: usize = 100;

/// One call, as values: it goes to another thread.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) call: Call,
    /// What stood in the place of the route's braces.
    pub(super) argument: String,
    pub(super) query: String,
    pub(super) body: Vec<u8>,
}

/// The API over the parts of a running server.
pub(super) struct Api {
    pub(super) parts: Parts,
    pub(super) started: Instant,
    pub(super) charts: Charts,
}

/// What `POST /v1/pins` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    reference: String,
}

/// What `PUT /v1/log-level` takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    level: String,
}

impl Api {
    pub(super) fn answer(&self, request: &Request) -> Page {
        let argument = request.argument.as_str();
        let answered = match request.call {
            Call::Status => Ok(Page::json(200, &self.status())),
            Call::Live => Ok(Page::json(200, &live::look(self))),
            Call::ListBlobs => self.list(&request.query),
            Call::ShowBlob => digest(argument).map(|digest| self.explain(&digest)),
            Call::PurgeBlob => self.purge(argument, &request.query),
            Call::ListPins => self.pins(),
            Call::AddPin => self.pin(&request.body),
            Call::RemovePin => self.unpin(argument),
            Call::Upstreams => Ok(Page::json(200, &self.upstreams())),
            Call::Fills => Ok(Page::json(200, &self.fills())),
            Call::AddWarm => self.warm(&request.body),
            Call::ListWarm => Ok(self.warm_jobs()),
            Call::ShowWarm => self.warm_job(argument),
            Call::CancelWarm => self.cancel_warm(argument),
            Call::Drain => {
                let accepted = views::Accepted { accepted: "drain" };
                let page = Page::json(202, &accepted);
                Ok(Page {
                    then: Then::Drain,
                    ..page
                })
            }
            Call::Reload => Ok(self.reload()),
            Call::Upgrade => {
                self.parts.steering.upgrade();
                let accepted = views::Accepted {
                    accepted: "upgrade",
                };
                Ok(Page::json(202, &accepted))
            }
            Call::ShowLogLevel => Ok(self.log_level()),
            Call::SetLogLevel => self.set_log_level(&request.body),
            Call::OpenApi => {
                let text = include_str!("../../docs/openapi.json");
                Ok(Page::new(200, "application/json", text.to_owned()))
            }
        };
        answered.unwrap_or_else(|refusal| refusal)
    }

    fn reload(&self) -> Page {
        let reloaded = views::Reloaded::from(self.parts.steering.reload());
        let status = if reloaded.error.is_some() { 422 } else { 200 };
        Page::json(status, &reloaded)
    }

    fn log_level(&self) -> Page {
        let level = self.parts.steering.log_level();
        Page::json(200, &views::LogLevel { level })
    }

    fn set_log_level(&self, body: &[u8]) -> Result<Page, Page> {
        let want = "want {\"level\": \"error\"}, or warn, info, debug or trace";
        let wanted: Level =
            serde_json::from_slice(body).map_err(|error| bad(&format!("{want}: {error}")))?;
        match self.parts.steering.set_log_level(&wanted.level) {
            true => Ok(self.log_level()),
            false => Err(bad(want)),
        }
    }

    fn status(&self) -> views::Status {
        let samples = self.parts.metrics.samples();
        let hops = self.parts.upstream.states();
        let down = hops.iter().filter(|hop| !hop.is_up).count();
        views::Status {
            version: env!("CARGO_PKG_VERSION"),
            uptime_seconds: self.started.elapsed().as_secs(),
            listen: self.parts.listen.clone(),
            cores: self.parts.metrics.beats().count(),
            is_draining: self.parts.steering.is_draining(),
            reasons: self.parts.steering.reasons(),
            connections: sum(&samples, "transship_connections"),
            store: self.store(),
            fills: views::FillsStatus {
                running: self.parts.fills.list().len(),
                ended: by_label(&samples, "transship_fills_total", "outcome"),
            },
            upstreams: views::UpstreamsStatus {
                up: hops.len() - down,
                down,
                throttled: hops.iter().filter(|hop| hop.is_throttled).count(),
            },
            requests: by_label(&samples, "transship_requests_total", "cache"),
            client_bytes: sum(&samples, "transship_client_bytes_total"),
            upstream_bytes: sum(&samples, "transship_upstream_bytes_total"),
        }
    }

    pub(super) fn store(&self) -> views::StoreStatus {
        let store = &self.parts.store;
        let numbers = self.parts.metrics.store();
        let trouble = store.trouble();
        views::StoreStatus {
            root: store.root().display().to_string(),
            blobs: numbers.entries.load(Ordering::Relaxed),
            bytes: numbers.bytes.load(Ordering::Relaxed),
            bytes_max: numbers.bytes_max.load(Ordering::Relaxed),
            reserved_bytes: numbers.reserved_bytes.load(Ordering::Relaxed),
            kept_bytes: numbers.kept_bytes.load(Ordering::Relaxed),
            pinned: numbers.pinned.load(Ordering::Relaxed),
            is_keeper: store.is_keeper(),
            trouble: trouble.map(|(kind, message)| views::Trouble {
                kind: kind.label(),
                message,
            }),
        }
    }

    fn list(&self, query: &str) -> Result<Page, Page> {
        let listing = paging::read(query).map_err(|wrong| bad(&wrong))?;
        let rows = self.parts.store.list(&listing);
        let is_full = rows.len() >= listing.most;
        let last = rows.last().filter(|_| is_full);
        let next = last.map(|row| paging::write(&listing.sort.place(row)));
        let blobs = rows.iter().map(Blob::from).collect();
        Ok(Page::json(200, &views::Blobs { blobs, next }))
    }

    /// Tells all that is known of a digest; 404 if that is nothing.
    fn explain(&self, digest: &Digest) -> Page {
        let (store, fills) = (&self.parts.store, &self.parts.fills);
        // Before the store: a fill commits before it leaves the list.
        let fill = fills.find(digest);
        let stored: Vec<Stored> = store.show(digest).iter().map(Stored::from).collect();
        let last_fill = fills.last(digest);
        let quarantined = store.quarantined(digest);
        let kept_bytes = store.kept_bytes(digest);
        let is_pinned = store.is_pinned(digest);
        let state = match (stored.is_empty(), &fill) {
            (false, _) => "stored",
            (true, Some(_)) => "filling",
            (true, None) if !quarantined.is_empty() => "quarantined",
            (true, None) if kept_bytes.is_some() => "unfinished",
            (true, None) => "absent",
        };
        let is_known = state != "absent" || is_pinned || last_fill.is_some();
        let explained = Explained {
            digest: digest.to_string(),
            state,
            stored,
            is_pinned,
            pinned_by: store.pinned_by(digest),
            repositories: store.repositories(digest, REPOSITORIES_MAX),
            quarantined,
            kept_bytes,
            fill: fill.as_ref().map(Fill::from),
            last_fill: last_fill.as_ref().map(views::LastFill::from),
        };
        match is_known {
            true => Page::json(200, &explained),
            false => Page::error(404, "NOT_FOUND", "nothing is known of this digest"),
        }
    }

    fn purge(&self, argument: &str, query: &str) -> Result<Page, Page> {
        let digest = digest(argument)?;
        let is_forced = paging::flag(query, "force").map_err(|wrong| bad(&wrong))?;
        match self.parts.store.purge(&digest, is_forced) {
            Ok(Purge::Gone { bytes }) => {
                tracing::info!(%digest, bytes, is_forced, "purged by an operator");
                let purged = views::Purged {
                    digest: digest.to_string(),
                    bytes,
                    is_filling: self.parts.fills.is_running(&digest),
                };
                Ok(Page::json(200, &purged))
            }
            Ok(Purge::Pinned) => Err(Page::error(
                409,
                "PINNED",
                "it is pinned: unpin it, or use force",
            )),
            Ok(Purge::Absent) => Err(Page::error(404, "NOT_FOUND", "it is not stored")),
            Err(error) => Err(failed(&error)),
        }
    }

    fn pins(&self) -> Result<Page, Page> {
        let pins = store::pins(&self.parts.store.root()).map_err(|error| failed(&error))?;
        let pins = pins.iter().map(ToString::to_string).collect();
        Ok(Page::json(200, &views::Pins { pins }))
    }

    fn pin(&self, body: &[u8]) -> Result<Page, Page> {
        let wanted: Pin = serde_json::from_slice(body)
            .map_err(|error| bad(&format!("want {{\"reference\": \"name:tag\"}}: {error}")))?;
        let reference = reference(&wanted.reference)?;
        let done = store::pin(&self.parts.store.root(), std::slice::from_ref(&reference));
        let changed = done.map_err(|error| failed(&error))?;
        tracing::info!(%reference, changed, "pinned by an operator");
        self.parts.store.heed_pins();
        Ok(Page::json(200, &views::Changed { changed }))
    }

    fn unpin(&self, argument: &str) -> Result<Page, Page> {
        let reference = reference(argument)?;
        let done = store::unpin(&self.parts.store.root(), std::slice::from_ref(&reference));
        let changed = done.map_err(|error| failed(&error))?;
        if changed == 0 {
            return Err(Page::error(404, "NOT_FOUND", "it is not pinned"));
        }
        tracing::info!(%reference, "released by an operator");
        self.parts.store.heed_pins();
        Ok(Page::json(200, &views::Changed { changed }))
    }

    pub(super) fn upstreams(&self) -> views::Upstreams {
        let states = self.parts.upstream.states();
        let upstreams = states.iter().map(views::Hop::from).collect();
        views::Upstreams { upstreams }
    }

    pub(super) fn fills(&self) -> views::Fills {
        let fills = self.parts.fills.list();
        let fills = fills.iter().map(Fill::from).collect();
        views::Fills { fills }
    }
}

fn digest(text: &str) -> Result<Digest, Page> {
    text.parse().map_err(|_| bad("want a digest, sha256:HEX"))
}

fn reference(text: &str) -> Result<Reference, Page> {
    text.parse().map_err(|error| bad(&format!("{error}")))
}

pub(super) fn bad(message: &str) -> Page {
    Page::error(400, "BAD_REQUEST", message)
}

fn failed(error: &std::io::Error) -> Page {
    Page::error(500, "DISK", &error.to_string())
}

pub(super) fn sum(samples: &[Sample], name: &str) -> u64 {
    let found = samples.iter().filter(|sample| sample.name == name);
    found.map(|sample| sample.value).sum()
}

pub(super) fn by_label(samples: &[Sample], name: &str, label: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.name == name) {
        let value = sample.labels.iter().find(|(known, _)| *known == label);
        if let Some((_, value)) = value {
            *sums.entry(value.clone()).or_default() += sample.value;
        }
    }
    sums
}
