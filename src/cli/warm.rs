//! `transship warm`: has a running server fetch images, and shows how far it is.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, Read as _, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args;
use super::progress::Progress;
use super::remote::{Failure, Server};
use super::table;
use super::told::text;
use crate::limits::{ADMIN_BODY_BYTES_MAX, WARM_IMAGES_MAX};
use crate::warm::{self, Image};

/// How often the server is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Longest list of images that is read, in bytes.
const LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Longest password that is read, in bytes.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;

type Out<'a> = &'a mut dyn Write;

/// Has images fetched.
///
/// # Errors
/// No server, a command line that makes no sense, or images that could not be had.
pub(super) fn warm(server: &Server, warm: &args::Warm, out: Out<'_>) -> Result<(), Failure> {
    if warm.password_stdin && warm.file.as_deref() == Some(Path::new("-")) {
        let both = "standard input is the list or the password, not both";
        return Err(Failure::Usage(both.to_owned()));
    }
    let images = images(warm)?;
    let login = login(warm)?;
    let interrupted = Arc::new(AtomicBool::new(false));
    if !warm.detach {
        for signal in [SIGINT, SIGTERM] {
            // The second one ends this at once.
            let flag = Arc::clone(&interrupted);
            let ended =
                signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&flag));
            let heard = ended.and_then(|_| signal_hook::flag::register(signal, flag));
            heard.map_err(|error| Failure::Refused(error.to_string()))?;
        }
    }
    let platforms: Vec<_> = warm.platforms.iter().map(ToString::to_string).collect();
    let mut ended = Vec::new();
    for part in parts(&images) {
        let mut body = json!({ "references": part, "platforms": platforms, "pin": warm.pin });
        if let Some(login) = &login {
            body["login"] = login.clone();
        }
        if let Some(patience) = warm.patience {
            body["patience_seconds"] = patience.into();
        }
        let job = match warm.detach {
            true => server.call("POST", "/v1/warm", Some(&body))?,
            false => see_through(server, &body, &interrupted, out)?,
        };
        ended.push(job);
        if interrupted.load(Ordering::Relaxed) {
            break;
        }
    }
    if server.is_json {
        let _ = writeln!(out, "{:#}", Value::from(ended.clone()));
    } else if warm.detach {
        for job in &ended {
            let _ = writeln!(out, "job {}: see GET /v1/warm/{}", job["id"], job["id"]);
        }
    }
    match warm.detach {
        true => Ok(()),
        false => verdict(&ended, images.len()),
    }
}

/// Returns what a job can take at once, in order.
fn parts(images: &[String]) -> Vec<&[String]> {
    let (mut parts, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (index, image) in images.iter().enumerate() {
        // Half of a body is for everything else.
        let is_full =
            bytes + image.len() > ADMIN_BODY_BYTES_MAX / 2 || index - start >= WARM_IMAGES_MAX;
        if is_full {
            parts.push(&images[start..index]);
            (start, bytes) = (index, 0);
        }
        bytes += image.len() + 3;
    }
    parts.push(&images[start..]);
    parts
}

/// Has a job done, by as many processes as take over from each other meanwhile; returns it when it has ended. The next
/// one passes over what is here.
fn see_through(
    server: &Server,
    body: &Value,
    interrupted: &AtomicBool,
    out: Out<'_>,
) -> Result<Value, Failure> {
    loop {
        let job = server.call("POST", "/v1/warm", Some(body))?;
        if let Some(ended) = follow(server, &job, interrupted, out)? {
            return Ok(ended);
        }
    }
}

/// Shows a job until it has ended; returns it then, or `None` if the server knows nothing of it: it is another process
/// than the one that took it.
fn follow(
    server: &Server,
    job: &Value,
    interrupted: &AtomicBool,
    out: Out<'_>,
) -> Result<Option<Value>, Failure> {
    let target = format!("/v1/warm/{}", job["id"]);
    let bar = Progress::start();
    let mut told = HashSet::new();
    let mut is_cancelled = false;
    loop {
        if interrupted.load(Ordering::Relaxed) && !is_cancelled {
            is_cancelled = true;
            server.call("DELETE", &target, Some(&json!({})))?;
        }
        let seen = match server.get(&target) {
            Ok(seen) => seen,
            Err(Failure::Absent(_)) if !is_cancelled => {
                bar.end();
                return Ok(None);
            }
            Err(failure) => {
                bar.end();
                return Err(failure);
            }
        };
        let number = |pointer: &str| seen.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let done = number("/bytes/done").saturating_add(number("/arriving_bytes"));
        bar.show(done, number("/bytes/total"), &note(&seen));
        for (index, image) in list(&seen["references"]).iter().enumerate() {
            if !server.is_json && is_over(image) && told.insert(index) {
                bar.print(out, &line(image));
            }
        }
        if matches!(
            seen["state"].as_str(),
            Some("done" | "failed" | "cancelled")
        ) {
            bar.end();
            return Ok(Some(seen));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is_over(image: &Value) -> bool {
    matches!(
        image["state"].as_str(),
        Some("done" | "failed" | "cancelled")
    )
}

/// Returns what stands beside the bar.
fn note(job: &Value) -> String {
    let number = |pointer: &str| job.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let waiting = list(&job["references"])
        .iter()
        .find(|image| image["state"] == "waiting");
    let why = waiting.map(|image| text(&image["error"]["message"]));
    let why = why.map(|why| format!(", waiting: {why}"));
    format!(
        "{}/{} images, {}/{} blobs{}",
        number("/images_done"),
        number("/images"),
        number("/blobs/done"),
        number("/blobs/total"),
        why.unwrap_or_default()
    )
}

/// Returns what is told of an image that is here, or will not be.
fn line(image: &Value) -> String {
    let number = |pointer: &str| image.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let (reference, state) = (text(&image["reference"]), text(&image["state"]));
    if let Some(message) = image["error"]["message"].as_str() {
        return format!("{reference}: {state}: {}", table::clean(message));
    }
    if state != "done" {
        return format!("{reference}: {state}");
    }
    let bytes = |pointer: &str| table::size(number(pointer));
    let mut line = format!(
        "{reference}: {} blobs, {}; {} were here already, {}",
        number("/blobs/total"),
        bytes("/bytes/total"),
        number("/blobs/here"),
        bytes("/bytes/here"),
    );
    let missing: Vec<_> = list(&image["missing_platforms"]).iter().map(text).collect();
    if !missing.is_empty() {
        line += &format!("; there is none for {}", missing.join(", "));
    }
    let foreign = number("/foreign_layers");
    if foreign > 0 {
        line += &format!("; {foreign} layers are to be had elsewhere");
    }
    line
}

/// # Errors
/// That some could not be had.
fn verdict(jobs: &[Value], asked: usize) -> Result<(), Failure> {
    let done: u64 = jobs
        .iter()
        .filter_map(|job| job["images_done"].as_u64())
        .sum();
    if jobs.iter().all(|job| job["state"] == "done") {
        return Ok(());
    }
    let is_cancelled = jobs.iter().any(|job| job["state"] == "cancelled");
    let why = if is_cancelled { "cancelled: " } else { "" };
    Err(Failure::Refused(format!(
        "{why}{done} of {asked} images are here"
    )))
}

/// Returns the images that are named, on the command line and in the list.
fn images(warm: &args::Warm) -> Result<Vec<String>, Failure> {
    let mut named = warm.images.clone();
    if let Some(path) = &warm.file {
        let listed =
            read(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        named.extend(warm::lines(&listed).map(str::to_owned));
    }
    if named.is_empty() {
        return Err(Failure::Usage("no images are named".to_owned()));
    }
    for image in &named {
        let parsed = image.parse::<Image>();
        parsed.map_err(|error| Failure::Usage(format!("{image}: {error}")))?;
    }
    Ok(named)
}

/// Reads a file; `-` is standard input.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    match path.as_os_str() == "-" {
        true => io::stdin()
            .lock()
            .take(LIST_BYTES_MAX)
            .read_to_string(&mut text)?,
        false => File::open(path)?
            .take(LIST_BYTES_MAX)
            .read_to_string(&mut text)?,
    };
    Ok(text)
}

/// Returns the login to ask with. The password stands in no list of processes.
fn login(warm: &args::Warm) -> Result<Option<Value>, Failure> {
    let Some(username) = &warm.username else {
        return Ok(None);
    };
    let mut password = String::new();
    let read = io::stdin()
        .lock()
        .take(PASSWORD_BYTES_MAX)
        .read_line(&mut password);
    read.map_err(|error| Failure::Usage(format!("no password on standard input: {error}")))?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::Usage("no password on standard input".to_owned()));
    }
    Ok(Some(json!({ "username": username, "password": password })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_several_jobs_and_none_is_lost() {
        let images: Vec<_> = (0..2 * WARM_IMAGES_MAX + 1)
            .map(|n| n.to_string())
            .collect();
        let counts: Vec<_> = parts(&images).iter().map(|part| part.len()).collect();
        assert_eq!(counts, [WARM_IMAGES_MAX, WARM_IMAGES_MAX, 1]);
        let long = vec!["a".repeat(ADMIN_BODY_BYTES_MAX / 4); 5];
        let counts: Vec<_> = parts(&long).iter().map(|part| part.len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 5);
        assert!(counts.iter().all(|&count| count <= 2), "{counts:?}");
    }

    #[test]
    fn an_image_is_told_in_one_line() {
        let image = json!({
            "reference": "a:1", "state": "done", "error": null,
            "blobs": {"total": 3, "here": 1}, "bytes": {"total": 2048, "here": 1024},
            "missing_platforms": ["linux/s390x"], "foreign_layers": 1,
        });
        let told = line(&image);
        for word in [
            "a:1: 3 blobs, 2.0 KiB; 1 were here already, 1.0 KiB",
            "linux/s390x",
            "1 layers",
        ] {
            assert!(told.contains(word), "{told}");
        }
        let failed = json!({
            "reference": "b:1", "state": "failed", "error": {"message": "gone\u{1b}[2J"},
        });
        assert_eq!(line(&failed), "b:1: failed: gone?[2J");
    }

    #[test]
    fn one_that_is_not_here_makes_the_command_fail() {
        let job = |state: &str| json!({"state": state, "images_done": 1});
        assert!(verdict(&[job("done"), job("done")], 2).is_ok());
        for state in ["failed", "cancelled"] {
            let failure = verdict(&[job("done"), job(state)], 3).unwrap_err();
            assert!(failure.to_string().contains("2 of 3"), "{failure}");
        }
    }
}
