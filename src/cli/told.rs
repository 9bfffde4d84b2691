//! What a server told, in lines for people: a name and a value each.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::table;

type Lines = Vec<Vec<String>>;

fn line(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}

/// Returns the lines about a server.
pub(super) fn status(status: &Value) -> Lines {
    let number = |pointer: &str| status.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let size = |pointer: &str| table::size(number(pointer));
    let reasons = texts(&status["reasons"]);
    let state = match (status["is_draining"].as_bool(), reasons.is_empty()) {
        (Some(true), _) => "draining".to_owned(),
        (_, true) => "ready".to_owned(),
        _ => format!("not ready: {}", reasons.join("; ")),
    };
    let (version, up) = (
        text(&status["version"]),
        table::span(number("/uptime_seconds")),
    );
    let listen = text(&status["listen"]);
    let (cores, clients) = (number("/cores"), number("/connections"));
    let (blobs, bytes) = (number("/store/blobs"), size("/store/bytes"));
    let (most, reserved) = (size("/store/bytes_max"), size("/store/reserved_bytes"));
    let (kept, pinned) = (size("/store/kept_bytes"), number("/store/pinned"));
    let running = number("/fills/running");
    let (well, down) = (number("/upstreams/up"), number("/upstreams/down"));
    let throttled = number("/upstreams/throttled");
    let (hits, all) = (number("/requests/hit"), total(&status["requests"]));
    let share = (hits * 100).checked_div(all).unwrap_or(0);
    let (sent, fetched) = (size("/client_bytes"), size("/upstream_bytes"));
    let stored = format!("{blobs} blobs and manifests, {bytes} of {most}");
    let upstreams = format!("{well} up, {down} down, {throttled} throttled");
    vec![
        line("state", state),
        line("version", format!("{version}, up {up}")),
        line(
            "listens",
            format!("{listen}, {cores} cores, {clients} connections"),
        ),
        line("stored", stored),
        line("unfinished", format!("{reserved} reserved, {kept} kept")),
        line("pinned", format!("{pinned} digests")),
        line("fills", format!("{running} running")),
        line("upstreams", upstreams),
        line(
            "requests",
            format!("{all}, {hits} of them hits ({share} %)"),
        ),
        line(
            "bytes",
            format!("{sent} to clients, {fetched} from upstreams"),
        ),
    ]
}

/// Returns the lines about one digest.
pub(super) fn explanation(all: &Value) -> Lines {
    let now = now();
    let mut lines = vec![
        line("digest", text(&all["digest"])),
        line("state", text(&all["state"])),
    ];
    for one in all["stored"].as_array().into_iter().flatten() {
        lines.extend(stored(one, now));
    }
    let mut add = |name: &str, value: String| lines.push(line(name, value));
    let named = |name: &str| texts(&all[name]).join(", ");
    if all["is_pinned"].as_bool() == Some(true) {
        add("pinned by", named("pinned_by"));
    }
    for (shown, name) in [
        ("repositories", "repositories"),
        ("quarantine", "quarantined"),
    ] {
        if !named(name).is_empty() {
            add(shown, named(name));
        }
    }
    if let Some(kept) = all["kept_bytes"].as_u64() {
        add("unfinished", format!("{} are kept", table::size(kept)));
    }
    lines.extend(fill(&all["fill"]));
    lines.extend(last_fill(&all["last_fill"], now));
    lines
}

fn stored(stored: &Value, now: u64) -> Lines {
    let number = |name: &str| stored[name].as_u64();
    let size = table::size(number("size_bytes").unwrap_or(0));
    let mut lines = vec![line(&text(&stored["kind"]), size)];
    if let Some(at) = number("stored_at") {
        lines.push(line("stored", ago(now, at)));
    }
    let (hits, used) = (number("hits").unwrap_or(0), number("last_use").unwrap_or(0));
    lines.push(line("used", format!("{}, {hits} hits", ago(now, used))));
    if let Some(at) = number("expires_at") {
        let left = table::span(at.saturating_sub(now));
        lines.push(line("expires", format!("in {left}")));
    }
    lines
}

fn fill(fill: &Value) -> Lines {
    if fill.is_null() {
        return Lines::new();
    }
    let number = |name: &str| fill[name].as_u64().unwrap_or(0);
    let size = fill["size_bytes"].as_u64();
    let size = size.map_or_else(|| "an unknown size".to_owned(), table::size);
    let filled = table::size(number("filled_bytes"));
    let (upstream, rate) = (
        text(&fill["upstream"]),
        table::size(number("bytes_per_second")),
    );
    let followers = number("followers");
    let value = format!("{filled} of {size} from {upstream}, {rate}/s, {followers} followers");
    vec![line("filling", value)]
}

fn last_fill(last: &Value, now: u64) -> Lines {
    if last.is_null() {
        return Lines::new();
    }
    let number = |name: &str| last[name].as_u64().unwrap_or(0);
    let (outcome, ended) = (text(&last["outcome"]), ago(now, number("ended_at")));
    let came = table::size(number("received_bytes"));
    let (upstream, rate) = (
        text(&last["upstream"]),
        table::size(number("bytes_per_second")),
    );
    let value = format!("{outcome} {ended}: {came} from {upstream}, {rate}/s");
    let mut lines = vec![line("last fill", value)];
    if last["failure"].is_string() {
        lines.push(line("it failed", text(&last["failure"])));
    }
    lines
}

/// Returns a text as it may be shown.
pub(super) fn text(value: &Value) -> String {
    table::clean(value.as_str().unwrap_or("-"))
}

pub(super) fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}

fn total(numbers: &Value) -> u64 {
    let numbers = numbers.as_object().into_iter();
    let numbers = numbers.flat_map(|numbers| numbers.values());
    numbers.filter_map(Value::as_u64).sum()
}

/// Returns the second of now, since the epoch.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

pub(super) fn ago(now: u64, at: u64) -> String {
    format!("{} ago", table::span(now.saturating_sub(at)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_that_lacks_everything_is_shown_and_breaks_nothing() {
        // A server of another version says less, or more.
        assert!(!status(&json!({})).is_empty());
        let all = json!({"stored": [{}], "fill": {}, "last_fill": {"failure": "a\u{1b}[2J"}});
        let lines = explanation(&all);
        assert_eq!(lines.last().unwrap()[1], "a?[2J");
    }
}
