//! One frame: two answers of a server and a size become lines, none wider or more than fit. No clock, no
//! terminal. What an answer lacks, as one of another version does, is shown as nothing.

use std::time::Duration;

use serde_json::Value;

use crate::cli::table::{clean, size, span};
use crate::cli::told::{ago, text, texts};

/// Columns and rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Characters of a fill's bar.
const BAR: usize = 20;

/// Returns the lines of a frame.
///
/// - `then`: the answer before, for rates; null where there is none.
pub(super) fn render(then: &Value, now: &Value, size: Size) -> Vec<String> {
    let mut lines = summary(&Pair { then, now });
    let (fills, hops, events) = (fills(now), upstreams(now), recent(now));
    // Two lines of each are for its title and the one before it. What is left over goes to the warnings.
    let left = size.rows.saturating_sub(lines.len() + 6);
    let of_hops = hops.len().min((left / 4).max(1));
    let of_fills = fills.len().min(left.saturating_sub(of_hops) * 2 / 3);
    let running = number(now, "/fills_running");
    let followers = number(now, "/fill_followers");
    let about_fills = format!("FILLS  {running} running, {followers} followers");
    for (title, mut rows, most) in [
        ("UPSTREAMS".to_owned(), hops, of_hops),
        (about_fills, fills, of_fills),
        (
            "WARNINGS".to_owned(),
            events,
            left - (of_hops + of_fills).min(left),
        ),
    ] {
        let hidden = rows.len().saturating_sub(most);
        rows.truncate(most);
        let more = match hidden {
            0 => String::new(),
            _ => format!("  ({hidden} more)"),
        };
        lines.extend([String::new(), title + &more]);
        lines.extend(rows);
    }
    lines.truncate(size.rows);
    lines.iter().map(|line| cut(line, size.columns)).collect()
}

/// Returns as much of a line as fits, without what would steer the terminal.
pub(super) fn cut(line: &str, columns: usize) -> String {
    let line = clean(line);
    if line.chars().count() <= columns {
        return line.trim_end().to_owned();
    }
    let kept: String = line.chars().take(columns.saturating_sub(1)).collect();
    if columns == 0 { kept } else { kept + "…" }
}

/// Two answers.
struct Pair<'a> {
    then: &'a Value,
    now: &'a Value,
}

impl Pair<'_> {
    /// Returns the time between them; none where there was no other, or of another process.
    fn between(&self) -> Option<Duration> {
        let at = |value: &Value| value["uptime_seconds"].as_f64();
        let passed = at(self.now)? - at(self.then)?;
        let passed = Duration::try_from_secs_f64(passed).ok()?;
        (!passed.is_zero()).then_some(passed)
    }

    /// Returns how much of a number, or of all numbers below it, came in a thousand seconds.
    fn of_thousand_seconds(&self, pointer: &str) -> Option<u64> {
        let passed = self.between()?;
        let more = sum(self.now, pointer).checked_sub(sum(self.then, pointer))?;
        let rate = u128::from(more) * 1_000_000 / passed.as_millis().max(1);
        u64::try_from(rate).ok()
    }

    fn bytes_rate(&self, pointer: &str) -> String {
        let rate = self.of_thousand_seconds(pointer);
        rate.map_or_else(|| "…".to_owned(), |rate| size(rate / 1000) + "/s")
    }

    fn rate(&self, pointer: &str) -> String {
        let rate = self.of_thousand_seconds(pointer);
        rate.map_or_else(
            || "…".to_owned(),
            |rate| format!("{}.{}/s", rate / 1000, rate / 100 % 10),
        )
    }
}

fn summary(pair: &Pair<'_>) -> Vec<String> {
    let now = pair.now;
    let bytes = |pointer: &str| size(number(now, pointer));
    let reasons = texts(&now["reasons"]);
    let state = match (now["is_draining"].as_bool(), reasons.is_empty()) {
        (Some(true), _) => "draining".to_owned(),
        (_, true) => "ready".to_owned(),
        _ => format!("NOT READY: {}", reasons.join("; ")),
    };
    let up = span(whole_seconds(&now["uptime_seconds"]));
    let (version, listen) = (text(&now["version"]), text(&now["listen"]));
    let connections = number(now, "/connections");
    let (out, fetched) = (
        pair.bytes_rate("/client_bytes"),
        pair.bytes_rate("/upstream_bytes"),
    );
    let (requests, errors) = (pair.rate("/requests"), pair.rate("/errors"));
    let hits = percent(number(now, "/requests/hit"), sum(now, "/requests"));
    let byte_hits = percent(number(now, "/hit_bytes"), number(now, "/client_bytes"));
    let full = percent(number(now, "/store/bytes"), number(now, "/store/bytes_max"));
    let retention = match number(now, "/evicted_age_seconds") {
        0 => "nothing evicted yet".to_owned(),
        age => format!("retention {}", span(age)),
    };
    vec![
        format!("transship {version}  {state}  up {up}  {listen}  {connections} connections"),
        format!("bytes       {out} to clients  {fetched} from upstreams"),
        format!("requests    {requests}  {errors} errors"),
        format!("hits        {hits} of requests  {byte_hits} of bytes"),
        format!("first byte  {}", first_byte(now)),
        format!("cores       {}", loads(pair)),
        format!(
            "store       {} of {} ({full})  {} blobs  {} promised  {retention}",
            bytes("/store/bytes"),
            bytes("/store/bytes_max"),
            number(now, "/store/blobs"),
            bytes("/store/reserved_bytes"),
        ),
    ]
}

/// Returns the medians and the slowest hundredths since the start.
fn first_byte(now: &Value) -> String {
    let bounds: Vec<f64> = floats(&now["first_byte"]["bounds_seconds"]);
    let part = |label: &str| {
        let counts = &now["first_byte"]["counts"][label];
        let counts = counts.as_array().into_iter().flatten();
        let counts: Vec<u64> = counts.filter_map(Value::as_u64).collect();
        let (half, most) = (within(&bounds, &counts, 50), within(&bounds, &counts, 99));
        format!("{label} p50 {half} p99 {most}")
    };
    ["hit", "miss", "collapsed"].map(part).join("  ")
}

/// Returns the bound that so many of a hundred do not pass.
fn within(bounds: &[f64], counts: &[u64], hundredths: u64) -> String {
    let all: u64 = counts.iter().sum();
    let wanted = (all * hundredths).div_ceil(100);
    let mut below = 0;
    for (at, count) in counts.iter().enumerate() {
        below += count;
        if all > 0 && below >= wanted {
            return match bounds.get(at) {
                Some(bound) if *bound < 1.0 => format!("≤ {} ms", bound * 1000.0),
                Some(bound) => format!("≤ {bound} s"),
                None => "longer".to_owned(),
            };
        }
    }
    "-".to_owned()
}

fn loads(pair: &Pair<'_>) -> String {
    let Some(passed) = pair.between() else {
        return "…".to_owned();
    };
    let busy = |value: &Value| floats(&value["core_busy_seconds"]);
    let (now, then) = (busy(pair.now), busy(pair.then));
    let cores = now.iter().zip(&then);
    let load = |(now, then): (&f64, &f64)| {
        let part = 100.0 * (now - then) / passed.as_secs_f64();
        format!("{:.0} %", part.clamp(0.0, 100.0))
    };
    cores.map(load).collect::<Vec<_>>().join("  ")
}

fn fills(now: &Value) -> Vec<String> {
    let line = |fill: &Value| {
        let filled = number(fill, "/filled_bytes");
        let whole = fill["size_bytes"].as_u64();
        let done = |of: usize| match whole {
            Some(whole @ 1..) => usize::try_from(
                (u128::from(filled) * of as u128 / u128::from(whole)).min(of as u128),
            )
            .unwrap_or(of),
            _ => 0,
        };
        let bar = "#".repeat(done(BAR)) + &"-".repeat(BAR - done(BAR));
        let part = match whole {
            Some(whole) => format!("{:>3} %  {} of {}", done(100), size(filled), size(whole)),
            None => format!("  ? %  {}", size(filled)),
        };
        let (rate, followers) = (
            size(number(fill, "/bytes_per_second")),
            number(fill, "/followers"),
        );
        let (repository, digest) = (text(&fill["repository"]), text(&fill["digest"]));
        let upstream = text(&fill["upstream"]);
        format!(
            "[{bar}] {part}  {rate}/s  {followers} followers  {repository}  {digest}  {upstream}"
        )
    };
    list(&now["fills"]).map(line).collect()
}

fn upstreams(now: &Value) -> Vec<String> {
    let line = |hop: &Value| {
        let state = match (hop["is_up"].as_bool(), hop["is_throttled"].as_bool()) {
            (Some(false), _) => format!("DOWN for {}", span(whole_seconds(&hop["down_seconds"]))),
            (_, Some(true)) => "throttled".to_owned(),
            _ => "up".to_owned(),
        };
        let why = hop["why"].as_str().map(|why| format!("  {why}"));
        let (url, bytes) = (text(&hop["url"]), size(number(hop, "/bytes")));
        let (answered, all) = (number(hop, "/requests/answered"), sum(hop, "/requests"));
        let why = why.unwrap_or_default();
        format!("{state:<12}  {url}  {answered} of {all} requests answered  {bytes}{why}")
    };
    list(&now["upstreams"]).map(line).collect()
}

fn recent(now: &Value) -> Vec<String> {
    let taken = whole_seconds(&now["taken_at"]);
    let line = |event: &Value| {
        let times = match number(event, "/times") {
            0 | 1 => String::new(),
            times => format!(" ({times} times)"),
        };
        let (level, message) = (text(&event["level"]), text(&event["message"]));
        let age = ago(taken, number(event, "/at"));
        format!("{age:>12}  {level:<7}  {message}{times}")
    };
    list(&now["recent"]).map(line).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn floats(value: &Value) -> Vec<f64> {
    list(value).filter_map(Value::as_f64).collect()
}

fn whole_seconds(value: &Value) -> u64 {
    let seconds = value.as_f64().unwrap_or(0.0);
    Duration::try_from_secs_f64(seconds).map_or(0, |time| time.as_secs())
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

/// Returns a number, or the sum of those in an object.
fn sum(value: &Value, pointer: &str) -> u64 {
    match value.pointer(pointer) {
        Some(Value::Object(numbers)) => numbers.values().filter_map(Value::as_u64).sum(),
        Some(number) => number.as_u64().unwrap_or(0),
        None => 0,
    }
}

fn percent(part: u64, all: u64) -> String {
    let thousandths = (u128::from(part) * 1000).checked_div(all.into());
    thousandths.map_or_else(
        || "- %".to_owned(),
        |part| format!("{}.{} %", part / 10, part % 10),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const WIDE: Size = Size {
        columns: 200,
        rows: 60,
    };

    fn answer(uptime: f64, sent: u64) -> Value {
        json!({
            "version": "1", "listen": "127.0.0.1:5000", "uptime_seconds": uptime, "taken_at": 1000.5,
            "connections": 3, "is_draining": false, "reasons": [],
            "client_bytes": sent, "hit_bytes": sent / 2, "upstream_bytes": 0,
            "requests": {"hit": 3, "miss": 1}, "errors": {"us": 0},
            "core_busy_seconds": [uptime / 4.0, 0.0],
            "first_byte": {"bounds_seconds": [0.001, 2.5], "counts": {"hit": [99, 1, 0], "miss": [0, 0, 4]}},
            "fills_running": 1, "fill_followers": 2,
            "fills": [{
                "digest": "sha256:ab", "repository": "a\u{1b}[2Jb", "upstream": "hop:1", "size_bytes": 200,
                "filled_bytes": 50, "bytes_per_second": 10, "followers": 2,
            }],
            "upstreams": [
                {"url": "https://well", "is_up": true, "requests": {"answered": 4, "failed": 1}, "bytes": 7},
                {"url": "https://ill", "is_up": false, "down_seconds": 65.0, "why": "refused"},
            ],
            "store": {"bytes": 1024, "bytes_max": 4096, "blobs": 2, "reserved_bytes": 0},
            "evicted_age_seconds": 0,
            "recent": [{"at": 995, "level": "warning", "message": "something", "times": 2}],
        })
    }

    #[test]
    fn a_frame_has_rates_of_two_answers_and_levels_of_the_last() {
        let lines = render(&answer(10.0, 0), &answer(12.0, 4096), WIDE);
        for wanted in [
            "transship 1  ready  up 12s  127.0.0.1:5000  3 connections",
            "bytes       2.0 KiB/s to clients  0 B/s from upstreams",
            "requests    0.0/s  0.0/s errors",
            "hits        75.0 % of requests  50.0 % of bytes",
            "first byte  hit p50 ≤ 1 ms p99 ≤ 1 ms  miss p50 longer p99 longer  collapsed p50 - p99 -",
            "cores       25 %  0 %",
            "store       1.0 KiB of 4.0 KiB (25.0 %)  2 blobs  0 B promised  nothing evicted yet",
            "DOWN for 1m 5s  https://ill  0 of 0 requests answered  0 B  refused",
            "up            https://well  4 of 5 requests answered  7 B",
            "FILLS  1 running, 2 followers",
            "[#####---------------]  25 %  50 B of 200 B  10 B/s  2 followers  a?[2Jb  sha256:ab  hop:1",
            "      5s ago  warning  something (2 times)",
        ] {
            assert!(
                lines.iter().any(|line| line == wanted),
                "{wanted}: {lines:#?}"
            );
        }
    }

    #[test]
    fn nothing_is_wider_or_longer_than_the_terminal() {
        let mut now = answer(12.0, 4096);
        for many in ["fills", "upstreams", "recent"] {
            let one = now[many][0].clone();
            now[many] = Value::from(vec![one; 50]);
        }
        for (columns, rows) in [(80, 24), (20, 10), (1, 1), (0, 0), (200, 60)] {
            let lines = render(&Value::Null, &now, Size { columns, rows });
            assert!(lines.len() <= rows, "{columns} {rows}");
            assert!(lines.iter().all(|line| line.chars().count() <= columns));
        }
        let lines = render(
            &Value::Null,
            &now,
            Size {
                columns: 80,
                rows: 24,
            },
        );
        assert_eq!(lines.len(), 24);
        for title in ["UPSTREAMS  (48 more)", "FILLS", "WARNINGS"] {
            assert!(
                lines.iter().any(|line| line.starts_with(title)),
                "{lines:#?}"
            );
        }
    }

    #[test]
    fn an_answer_that_lacks_everything_and_a_server_started_anew_break_nothing() {
        let lines = render(
            &json!({}),
            &json!({"fills": [{}], "recent": [{}], "upstreams": [{}]}),
            WIDE,
        );
        assert!(lines[0].starts_with("transship -"), "{lines:#?}");
        // It counts from 0: there are no rates, and none below 0.
        let lines = render(&answer(100.0, 4096), &answer(1.0, 0), WIDE);
        assert!(lines[1].contains("… to clients"), "{lines:#?}");
    }
}
