//! One connection: requests go to the origin, answers come back spoilt.

use std::io;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use super::harm::{End, Harm, Instead, Range};
use super::pace::Pace;
use super::{Seen, Shared, Wire};
use crate::support::client::{Client, Head, request as to_bytes};

/// Serves one connection until it ends.
pub(super) fn serve(shared: &Shared, mut wire: Wire) {
    let mut pace = Pace::new();
    while let Some(request) = Seen::read(&mut wire) {
        let harm = shared.harm(&request);
        let number = shared.note(&request);
        let goes_on = pass(shared, &mut wire, &request, &harm, number, &mut pace);
        shared.end(number);
        if !goes_on.unwrap_or(false) {
            break;
        }
    }
    wire.finish();
}

/// Returns the first byte of `bytes=N-…`.
pub(super) fn first_of(range: &str) -> Option<u64> {
    let (first, _) = range.strip_prefix("bytes=")?.split_once('-')?;
    first.parse().ok()
}

/// Answers one request; returns whether the connection goes on.
fn pass(
    shared: &Shared,
    wire: &mut Wire,
    request: &Seen,
    harm: &Harm,
    number: usize,
    pace: &mut Pace,
) -> io::Result<bool> {
    if let Some(gate) = &harm.head_gate {
        gate.wait();
    }
    let lag = shared.lag_ms.load(Ordering::SeqCst);
    if lag > 0 {
        thread::sleep(Duration::from_millis(lag));
    }
    if let Some(instead) = &harm.instead {
        wire.send(instead.head(request).as_bytes())?;
        return Ok(true);
    }
    let mut origin = Client::try_connect(shared.origin)?;
    origin.send_what_it_takes(&forwarded(request, harm));
    let head = origin.try_head()?;
    let is_bodiless = request.method == "HEAD" || head.status == 304;
    let length = head.length().unwrap_or(0);
    wire.send(spoilt(&head, harm, is_bodiless).as_bytes())?;
    if is_bodiless {
        return Ok(true);
    }
    shared.begin(number);
    let mut body = Body {
        shared,
        number,
        harm,
        origin,
        pace,
        at: 0,
    };
    let claimed = length.saturating_add_signed(harm.length_off);
    let end = harm.end.map_or(u64::MAX, |(offset, _)| offset);
    let end = end.min(length).min(claimed);
    body.send(wire, end)?;
    match harm.end {
        // A length that was not kept leaves the framing in ruins.
        None => return Ok(harm.length_off == 0 && harm.lost_field != Some("content-length")),
        Some((_, End::Closed)) => {}
        Some((_, End::Reset)) => wire.reset(),
        Some((_, End::Torn)) => {
            let next = body.take((length - end).min(4096))?;
            wire.tear(&next)?;
        }
    }
    Ok(false)
}

/// The body of one answer on its way.
struct Body<'a> {
    shared: &'a Shared,
    number: usize,
    harm: &'a Harm,
    origin: Client,
    pace: &'a mut Pace,
    at: u64,
}

impl Body<'_> {
    fn send(&mut self, wire: &mut Wire, end: u64) -> io::Result<()> {
        loop {
            self.wait_at_gate();
            if self.at == end {
                return Ok(());
            }
            let rate = self.rate();
            let mut until = end.min(self.at + Pace::piece(rate));
            let gate = self.harm.body_gate.as_ref().map(|(offset, _)| *offset);
            let slow = self.harm.slow.map(|(offset, _)| offset);
            for mark in [gate, slow].into_iter().flatten() {
                if mark > self.at {
                    until = until.min(mark);
                }
            }
            let bytes = self.take(until - self.at)?;
            self.pace.wait(bytes.len(), rate);
            // Counted first: whoever has the bytes may look at once.
            self.shared.sent(self.number, bytes.len());
            wire.send(&bytes)?;
            self.at = until;
        }
    }

    fn wait_at_gate(&self) {
        if let Some((offset, gate)) = &self.harm.body_gate
            && *offset == self.at
        {
            gate.wait();
        }
    }

    fn rate(&self) -> u64 {
        let slow = self.harm.slow.filter(|(offset, _)| self.at >= *offset);
        match slow {
            Some((_, rate)) if !self.shared.in_a_hurry.load(Ordering::SeqCst) => rate,
            _ => self.shared.rate.load(Ordering::SeqCst),
        }
    }

    /// Takes so many bytes of what the origin sends.
    fn take(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let got = self
            .origin
            .read_up_to(count, &mut |part: &[u8]| bytes.extend_from_slice(part));
        if got < count {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(flipped) = self.harm.flipped
            && (self.at..self.at + count).contains(&flipped)
        {
            let at = usize::try_from(flipped - self.at).unwrap();
            bytes[at] = !bytes[at];
        }
        Ok(bytes)
    }
}

impl Instead {
    fn head(&self, request: &Seen) -> String {
        let mut head = format!("HTTP/1.1 {} As Told\r\nContent-Length: 0\r\n", self.status);
        for (name, value) in &self.fields {
            let more = self
                .leads_on
                .as_ref()
                .map(|query| format!("{}?{query}", request.target));
            head += &format!("{name}: {value}{}\r\n", more.unwrap_or_default());
        }
        head + "\r\n"
    }
}

/// The request as the origin gets it, on a connection of its own.
fn forwarded(request: &Seen, harm: &Harm) -> Vec<u8> {
    let mut fields = vec![("Connection".to_owned(), "close".to_owned())];
    for (name, value) in &request.fields {
        let value = match name.to_ascii_lowercase().as_str() {
            "host" | "connection" => continue,
            "range" => match harm.range {
                Range::Honoured => value.clone(),
                Range::Ignored => continue,
                Range::Before(bytes) => earlier(value, bytes),
            },
            _ => value.clone(),
        };
        fields.push((name.clone(), value));
    }
    let fields: Vec<_> = fields
        .iter()
        .map(|(n, v)| (n.as_str(), v.as_str()))
        .collect();
    to_bytes(&request.method, &request.target, &fields)
}

fn earlier(range: &str, bytes: u64) -> String {
    let first = first_of(range).expect("a range with an offset");
    let (_, last) = range.split_once('-').unwrap();
    format!("bytes={}-{last}", first.saturating_sub(bytes))
}

/// The head as the client gets it.
fn spoilt(head: &Head, harm: &Harm, is_bodiless: bool) -> String {
    let mut text = format!("HTTP/1.1 {} Passed On\r\n", head.status);
    for (name, value) in &head.fields {
        let lower = name.to_ascii_lowercase();
        if lower == "connection" || Some(lower.as_str()) == harm.lost_field {
            continue;
        }
        let value = match lower.as_str() {
            "content-length" if !is_bodiless => {
                let length: u64 = value.parse().expect("a number");
                length.saturating_add_signed(harm.length_off).to_string()
            }
            "content-range" => {
                let (range, total) = value.split_once('/').expect("a total");
                let total: u64 = total.parse().expect("a number");
                format!("{range}/{}", total.saturating_add_signed(harm.total_off))
            }
            _ => value.clone(),
        };
        text += &format!("{name}: {value}\r\n");
    }
    if head.length().is_none() && !is_bodiless {
        text += "Content-Length: 0\r\n";
    }
    text + "\r\n"
}
