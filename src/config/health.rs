//! The health checks of the registry's configuration (`health`).

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::headers;
use super::read::{Reader, Spot};
use crate::health::{Check, Options, Target};

/// Returns the checks of the three lists.
pub(super) fn read(reader: &mut Reader, root: &Spot<'_>) -> Option<Options> {
    let mut checks = Some(Vec::new());
    let readers: [(&str, Read); 3] = [
        ("health.file", file),
        ("health.http", http),
        ("health.tcp", tcp),
    ];
    for (list, target) in readers {
        for item in root.find(list).items() {
            // All are read, so that every problem is told.
            match (check(reader, &item, target), &mut checks) {
                (Some(check), Some(checks)) => checks.push(check),
                (None, _) => checks = None,
                (Some(_), None) => {}
            }
        }
    }
    checks.map(|checks| Options { checks })
}

type Read = fn(&mut Reader, &Spot<'_>) -> Option<Target>;

fn check(reader: &mut Reader, item: &Spot<'_>, target: Read) -> Option<Check> {
    let target = target(reader, item);
    let interval = reader.duration(&item.find("interval"));
    let is_file = matches!(target, Some(Target::File(_)));
    // A file is looked at once, and at once.
    let (timeout, threshold) = match is_file {
        true => (Some(Some(Duration::ZERO)), Some(Some(0))),
        false => (
            reader.duration(&item.find("timeout")),
            reader.integer(&item.find("threshold")),
        ),
    };
    Some(Check {
        target: target?,
        interval: interval??,
        timeout: timeout??,
        threshold: u32::try_from(threshold??).ok()?.max(1),
    })
}

fn file(reader: &mut Reader, item: &Spot<'_>) -> Option<Target> {
    let spot = item.find("file");
    let want = "the absolute path of a file that must not be there";
    let path = reader.parsed(&spot, want, |text| {
        text.starts_with('/').then(|| PathBuf::from(text))
    })?;
    required(reader, &spot, want, path).map(Target::File)
}

fn http(reader: &mut Reader, item: &Spot<'_>) -> Option<Target> {
    let spot = item.find("uri");
    let want = "an address such as http://localhost:5000/";
    let uri = reader.parsed(&spot, want, |text| {
        let uri = Url::parse(text).ok()?;
        let is_web = ["http", "https"].contains(&uri.scheme()) && uri.has_host();
        let is_plain = uri.username().is_empty() && uri.password().is_none();
        (is_web && is_plain).then_some(uri)
    });
    let headers = headers::read(reader, &item.find("headers"));
    let status = reader.integer(&item.find("statuscode"));
    let uri = required(reader, &spot, want, uri?)?;
    Some(Target::Http {
        uri,
        headers: headers?,
        status: u16::try_from(status??).ok()?,
    })
}

fn tcp(reader: &mut Reader, item: &Spot<'_>) -> Option<Target> {
    let spot = item.find("addr");
    let want = "HOST:PORT";
    let addr = reader.parsed(&spot, want, |text| {
        let (host, port) = text.rsplit_once(':')?;
        let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
        (!host.is_empty() && is_port && !host.contains('/')).then(|| text.to_owned())
    })?;
    required(reader, &spot, want, addr).map(Target::Tcp)
}

/// Reports a check without what it is about.
fn required<T>(reader: &mut Reader, spot: &Spot<'_>, want: &str, value: Option<T>) -> Option<T> {
    if value.is_none() {
        reader.refuse(spot, want);
    }
    value
}
