//! The commands that ask a running server: `status`, `ls`, `show`, `purge`, `drain`, `reload`, and pins where a
//! server answers.
//!
//! People get tables, `--json` the server's own words. What comes from elsewhere is shown without its control
//! characters.

use std::io::{self, Write};
use std::process::ExitCode;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::args::{self, Place, Remote};
use super::fit;
use super::pin::Change;
use super::remote::{Failure, Server};
use super::table;
use super::told::{self, ago, now, text, texts};
use crate::digest::Digest;

/// Rows that are asked for at once.
const PAGE_ROWS: usize = 1000;

type Out<'a> = &'a mut dyn Write;

/// Finds the server and does `what` with it; what went wrong is told in one line.
pub(super) fn run(
    remote: &Remote,
    what: impl FnOnce(&Server, Out<'_>) -> Result<(), Failure>,
) -> ExitCode {
    let mut out = io::stdout().lock();
    let server = Server::find(remote.admin.as_deref(), remote.json);
    let failure = match server.and_then(|server| what(&server, &mut out)) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(failure) => failure,
    };
    let _ = writeln!(
        io::stderr(),
        "transship: {}",
        table::clean(&failure.to_string())
    );
    ExitCode::from(match failure {
        Failure::Refused(_) => 1,
        Failure::Usage(_) => 2,
        Failure::Away(_) => 3,
        Failure::Absent(_) => 4,
    })
}

/// Says whether pins are those of a running server: one that was named, or one that answers where no store was.
pub(super) fn is_meant(place: &Place, remote: &Remote) -> bool {
    if place.is_given() {
        return remote.admin.is_some();
    }
    remote.admin.is_some() || Server::find(None, false).is_ok_and(|server| server.is_there())
}

/// Writes to a reader who may have gone, which changes nothing about what was done.
fn rows(out: Out<'_>, right: &[usize], rows: &[Vec<String>]) {
    let _ = table::write(out, right, &fit::rows(rows, fit::width()));
}

fn json(out: Out<'_>, value: &Value) {
    let _ = writeln!(out, "{value:#}");
}

pub(super) fn status(server: &Server, out: Out<'_>) -> Result<(), Failure> {
    let status = server.get("/v1/status")?;
    match server.is_json {
        true => json(out, &status),
        false => rows(out, &[], &told::status(&status)),
    }
    Ok(())
}

pub(super) fn list(server: &Server, list: &args::List, out: Out<'_>) -> Result<(), Failure> {
    let mut left = if list.limit == 0 {
        usize::MAX
    } else {
        list.limit
    };
    let mut target = format!("/v1/blobs?sort={}", list.sort);
    for (name, value) in [("prefix", &list.prefix), ("repository", &list.repository)] {
        if let Some(value) = value {
            target += &format!("&{name}={}", encoded(value));
        }
    }
    let mut found = Vec::new();
    let mut after = String::new();
    while left > 0 {
        let page = server.get(&format!("{target}&limit={}{after}", left.min(PAGE_ROWS)))?;
        let blobs = page["blobs"].as_array().cloned().unwrap_or_default();
        left = left.saturating_sub(blobs.len());
        found.extend(blobs);
        match page["next"].as_str() {
            Some(next) => after = format!("&after={}", encoded(next)),
            None => break,
        }
    }
    if server.is_json {
        json(out, &Value::from(found));
        return Ok(());
    }
    let now = now();
    let heads = ["SIZE", "HITS", "USED", "KIND", "PINNED", "DIGEST"];
    let mut lines = vec![heads.map(str::to_owned).to_vec()];
    lines.extend(found.iter().map(|blob| {
        let number = |name: &str| blob[name].as_u64().unwrap_or(0);
        let pinned = blob["is_pinned"].as_bool() == Some(true);
        vec![
            table::size(number("size_bytes")),
            number("hits").to_string(),
            ago(now, number("last_use")),
            text(&blob["kind"]),
            if pinned { "yes" } else { "-" }.to_owned(),
            text(&blob["digest"]),
        ]
    }));
    rows(out, &[0, 1], &lines);
    Ok(())
}

pub(super) fn show(server: &Server, digests: &[Digest], out: Out<'_>) -> Result<(), Failure> {
    for (index, digest) in digests.iter().enumerate() {
        let told = server.get(&format!("/v1/blobs/{digest}"));
        let explained = told.map_err(|failure| about(digest, failure))?;
        if server.is_json {
            json(out, &explained);
            continue;
        }
        if index > 0 {
            let _ = writeln!(out);
        }
        rows(out, &[], &told::explanation(&explained));
    }
    Ok(())
}

pub(super) fn purge(server: &Server, purge: &args::Purge, out: Out<'_>) -> Result<(), Failure> {
    let mut failed = None;
    for digest in &purge.digests {
        let force = if purge.force { "?force=true" } else { "" };
        match server.call("DELETE", &format!("/v1/blobs/{digest}{force}"), None) {
            Ok(purged) if server.is_json => json(out, &purged),
            Ok(purged) => {
                let size = table::size(purged["bytes"].as_u64().unwrap_or(0));
                let _ = writeln!(out, "{digest}  purged, {size}");
                if purged["is_filling"].as_bool() == Some(true) {
                    let _ = writeln!(out, "{digest}  is being filled, and will be stored again");
                }
            }
            // The others are tried all the same.
            Err(failure @ (Failure::Absent(_) | Failure::Refused(_))) => {
                let told = about(digest, failure);
                if let Some(before) = failed.replace(told) {
                    let _ = writeln!(io::stderr(), "transship: {before}");
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    failed.map_or(Ok(()), Err)
}

pub(super) fn post(server: &Server, what: &str, out: Out<'_>) -> Result<(), Failure> {
    let accepted = server.call("POST", &format!("/v1/{what}"), Some(&json!({})))?;
    if server.is_json {
        json(out, &accepted);
    } else {
        let _ = writeln!(out, "{what}: accepted, see the server's log");
    }
    Ok(())
}

/// Has the configuration read again, and tells what came of it.
pub(super) fn reload(server: &Server, out: Out<'_>) -> Result<(), Failure> {
    let told = server.call("POST", "/v1/reload", Some(&json!({})))?;
    if server.is_json {
        json(out, &told);
        return Ok(());
    }
    let (applied, waiting) = (texts(&told["applied"]), texts(&told["needs_restart"]));
    if applied.is_empty() && waiting.is_empty() {
        let _ = writeln!(out, "nothing has changed");
    }
    for (keys, what) in [(applied, "applied"), (waiting, "needs a restart")] {
        for key in keys {
            let _ = writeln!(out, "{what}: {key}");
        }
    }
    Ok(())
}

pub(super) fn log_level(server: &Server, level: Option<&str>, out: Out<'_>) -> Result<(), Failure> {
    let told = match level {
        Some(level) => server.call("PUT", "/v1/log-level", Some(&json!({"level": level})))?,
        None => server.get("/v1/log-level")?,
    };
    if server.is_json {
        json(out, &told);
    } else {
        let _ = writeln!(out, "{}", text(&told["level"]));
    }
    Ok(())
}

pub(super) fn pins(server: &Server, out: Out<'_>) -> Result<(), Failure> {
    let pins = server.get("/v1/pins")?;
    if server.is_json {
        json(out, &pins);
        return Ok(());
    }
    for pin in texts(&pins["pins"]) {
        let _ = writeln!(out, "{pin}");
    }
    Ok(())
}

pub(super) fn change_pins(
    server: &Server,
    change: Change,
    references: &[String],
    out: Out<'_>,
) -> Result<(), Failure> {
    // All of them are looked at before the first is changed, as on files.
    for reference in references {
        let parsed = reference.parse::<crate::store::Reference>();
        parsed.map_err(|error| Failure::Usage(format!("{reference}: {error}")))?;
    }
    let mut changed = 0;
    for reference in references {
        let answer = match change {
            Change::Pin => {
                server.call("POST", "/v1/pins", Some(&json!({ "reference": reference })))
            }
            Change::Unpin => {
                server.call("DELETE", &format!("/v1/pins/{}", encoded(reference)), None)
            }
        };
        match answer {
            Ok(answer) => changed += answer["changed"].as_u64().unwrap_or(0),
            // Released is released, as on files.
            Err(Failure::Absent(_)) => {}
            Err(failure) => return Err(failure),
        }
    }
    let done = match change {
        Change::Pin => "pinned",
        Change::Unpin => "released",
    };
    match server.is_json {
        true => json(out, &json!({ "changed": changed })),
        false => drop(writeln!(out, "{changed} {done}")),
    }
    Ok(())
}

fn about(digest: &Digest, failure: Failure) -> Failure {
    match failure {
        Failure::Absent(text) => Failure::Absent(format!("{digest}: {text}")),
        Failure::Refused(text) => Failure::Refused(format!("{digest}: {text}")),
        other => other,
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}
