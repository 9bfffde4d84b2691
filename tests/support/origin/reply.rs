//! What the origin answers, and how the answer goes out.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;

use super::plan::{End, Length};
use super::rights::{Rights, Verdict};
use super::wire::Wire;
use super::{Content, MANIFEST, Plan, Seen, Shared, Tls};
use crate::support::blob::Blob;

const SLICE: usize = 64 * 1024;

/// A response before it is spoilt.
struct Answer {
    status: u16,
    fields: Vec<(&'static str, String)>,
    body: Blob,
    /// What of `body` is sent.
    from: usize,
    to: usize,
}

/// Serves one connection until it ends.
pub(super) fn serve(shared: &Shared, socket: TcpStream, tls: Option<&Tls>) {
    let mut wire = Wire::new(socket, tls);
    while let Some(request) = Seen::read(&mut wire) {
        let hanging = shared.content.lock().unwrap().hanging.clone();
        if let Some(gate) = hanging {
            gate.wait();
        }
        let (answer, plan) = answer(&mut shared.content.lock().unwrap(), &request);
        shared.seen.lock().unwrap().push(request.clone());
        match send(shared, &mut wire, &request, &answer, &plan) {
            Ok(true) => {}
            Ok(false) | Err(_) => break,
        }
    }
    let mut sockets = shared.sockets.lock().unwrap();
    if let Ok(peer) = wire.peer() {
        sockets.retain(|socket| socket.peer_addr().is_ok_and(|other| other != peer));
    }
    drop(sockets);
    wire.finish();
}

fn answer(content: &mut Content, request: &Seen) -> (Answer, Plan) {
    let path = request.path();
    if let Some(status) = content.overload {
        return (Answer::error(status, "UNAVAILABLE"), Plan::whole());
    }
    if content.has_login_page {
        let mut page = Answer::text(200, "<html>log in</html>");
        page.fields.retain(|(name, _)| *name != "Content-Type");
        page.fields.push(("Content-Type", "text/html".to_owned()));
        return (page, Plan::whole());
    }
    if content.refuses_heads && request.method == "HEAD" {
        return (Answer::error(403, "DENIED"), Plan::whole());
    }
    if path == "/token" {
        return (token(content), Plan::whole());
    }
    if let Some(file) = content.files.get(path) {
        let mut answer = Answer::whole(200, file.clone());
        if let Some(range) = request.field("range") {
            answer.narrow(range);
        }
        return (answer, Plan::whole());
    }
    if let Some(refused) = unauthorised(content, request) {
        return (refused, Plan::whole());
    }
    let repository = split(path).map(|(repository, ..)| repository);
    match content.rights.judge(request, repository) {
        Verdict::Granted => {}
        Verdict::Unauthorised => return (content.rights.log_in(), Plan::whole()),
        Verdict::Denied => return (Answer::error(403, "DENIED"), Plan::whole()),
    }
    if let Some(location) = &content.blob_storage
        && path.contains("/blobs/")
    {
        let mut answer = Answer::error(307, "DENIED");
        answer.fields.push(("Location", location.clone()));
        return (answer, Plan::whole());
    }
    let Some((repository, kind, name)) = split(path) else {
        return match path {
            "/v2/" => (Answer::text(200, "{}"), Plan::whole()),
            _ => (Answer::error(404, "NAME_UNKNOWN"), Plan::whole()),
        };
    };
    match kind {
        "blobs" if content.is_homeless(repository, name) => {
            (Answer::error(404, "BLOB_UNKNOWN"), Plan::whole())
        }
        "blobs" => blob(content, request, name),
        "manifests" => (manifest(content, request, repository, name), Plan::whole()),
        "tags" => {
            let list = serde_json::json!({"name": repository, "tags": content.tags});
            (Answer::text(200, &list.to_string()), Plan::whole())
        }
        _ => (Answer::error(404, "NAME_UNKNOWN"), Plan::whole()),
    }
}

/// Takes `/v2/<repository>/<kind>/<name>` apart.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let rest = path.strip_prefix("/v2/")?;
    let (rest, name) = rest.rsplit_once('/')?;
    let (repository, kind) = rest.rsplit_once('/')?;
    Some((repository, kind, name))
}

impl Rights {
    fn log_in(&self) -> Answer {
        let mut refused = Answer::error(401, "UNAUTHORIZED");
        let challenge = self.challenge.clone();
        refused.fields.push(("WWW-Authenticate", challenge));
        refused
    }
}

impl Content {
    /// Says whether the origin holds the blob, but not in this repository.
    fn is_homeless(&self, repository: &str, digest: &str) -> bool {
        let homes = self.homes.get(digest);
        homes.is_some_and(|homes| !homes.contains(repository))
    }
}

fn token(content: &mut Content) -> Answer {
    let token = format!("token-{}", content.tokens.len());
    let text = serde_json::json!({"token": token, "expires_in": 300});
    content.tokens.insert(token);
    Answer::text(200, &text.to_string())
}

fn unauthorised(content: &Content, request: &Seen) -> Option<Answer> {
    let realm = content.realm.as_ref()?;
    let given = request.field("authorization").unwrap_or_default();
    let token = given.strip_prefix("Bearer ").unwrap_or_default();
    if content.tokens.contains(token) {
        return None;
    }
    let challenge = format!(
        "Bearer realm=\"{realm}\",service=\"origin.test\",scope=\"repository:test/image:pull\""
    );
    let mut refused = Answer::error(401, "UNAUTHORIZED");
    refused.fields.push(("WWW-Authenticate", challenge));
    Some(refused)
}

fn blob(content: &mut Content, request: &Seen, digest: &str) -> (Answer, Plan) {
    let Some(blob) = content.blobs.get(digest).cloned() else {
        return (Answer::error(404, "BLOB_UNKNOWN"), Plan::whole());
    };
    let plan = match request.method.as_str() {
        "GET" => {
            let plans = content.plans.get_mut(digest);
            let next = plans.and_then(VecDeque::pop_front);
            next.or_else(|| content.lasting_plans.get(digest).cloned())
        }
        _ => None,
    };
    let plan = plan.unwrap_or_else(Plan::whole);
    if plan.status != 200 {
        let mut answer = Answer::error(plan.status, "DENIED");
        let location = plan.location.iter().map(|to| ("Location", to.clone()));
        answer.fields.extend(location);
        return (answer, plan);
    }
    let mut answer = Answer::whole(200, blob);
    answer
        .fields
        .push(("Docker-Content-Digest", digest.to_owned()));
    answer
        .fields
        .push(("Content-Type", "application/octet-stream".to_owned()));
    answer.fields.push(("Accept-Ranges", "bytes".to_owned()));
    if let Some(range) = request.field("range") {
        answer.narrow(range);
    }
    (answer, plan)
}

fn manifest(content: &Content, request: &Seen, repository: &str, name: &str) -> Answer {
    let Some(manifest) = content.manifests.get(&format!("{repository}/{name}")) else {
        return Answer::error(404, "MANIFEST_UNKNOWN");
    };
    let etag = format!("\"{}\"", manifest.digest);
    let known = request.field("if-none-match").unwrap_or_default();
    let mut answer = match known.contains(&etag) {
        true => Answer::whole(304, Blob::new(Vec::new())),
        false => Answer::whole(200, manifest.clone()),
    };
    answer.fields.push(("ETag", etag));
    answer
        .fields
        .push(("Docker-Content-Digest", manifest.digest.clone()));
    answer.fields.push(("Content-Type", MANIFEST.to_owned()));
    answer
}

impl Answer {
    fn whole(status: u16, body: Blob) -> Self {
        Self {
            status,
            fields: vec![("Docker-Distribution-Api-Version", "registry/2.0".to_owned())],
            from: 0,
            to: body.len(),
            body,
        }
    }

    fn text(status: u16, text: &str) -> Self {
        let mut answer = Self::whole(status, Blob::new(text.as_bytes().to_vec()));
        answer
            .fields
            .push(("Content-Type", "application/json".to_owned()));
        answer
    }

    fn error(status: u16, code: &str) -> Self {
        let text = serde_json::json!({"errors": [{"code": code, "message": "as scripted"}]});
        Self::text(status, &text.to_string())
    }

    /// Answers a single range `bytes=N-` or `bytes=N-M`; others get the whole.
    fn narrow(&mut self, range: &str) {
        let Some((from, to)) = range.strip_prefix("bytes=").and_then(|r| r.split_once('-')) else {
            return;
        };
        let Ok(from) = from.parse::<usize>() else {
            return;
        };
        let last = self.body.len() - 1;
        let to = to.parse::<usize>().unwrap_or(last).min(last);
        if from > to {
            return;
        }
        self.status = 206;
        let all = self.body.len();
        self.fields
            .push(("Content-Range", format!("bytes {from}-{to}/{all}")));
        (self.from, self.to) = (from, to + 1);
    }
}

/// Sends an answer as planned; returns whether the connection goes on.
fn send(
    shared: &Shared,
    wire: &mut Wire,
    request: &Seen,
    answer: &Answer,
    plan: &Plan,
) -> io::Result<bool> {
    if let Some(gate) = &plan.head_gate {
        gate.wait();
    }
    let mut body = answer.body.bytes[answer.from..answer.to].to_vec();
    if plan.status == 200 {
        body.resize(body.len() + plan.extra, b'x');
    }
    if let Some(byte) = plan.corrupt.and_then(|at| body.get_mut(at)) {
        *byte = !*byte;
    }
    wire.send(head(answer, plan, body.len()).as_bytes())?;
    if request.method == "HEAD" || answer.status == 304 {
        return Ok(true);
    }
    let stop = match plan.end {
        End::Whole => body.len(),
        End::Cut(at) | End::Reset(at) => at,
    };
    send_body(shared, wire, request, &body[..stop], plan)?;
    match plan.end {
        End::Cut(_) => Ok(false),
        End::Reset(_) => {
            wire.reset();
            Ok(false)
        }
        End::Whole => {
            if plan.length == Length::Chunked {
                wire.send(b"0\r\n\r\n")?;
            }
            // A false length leaves the framing in ruins.
            Ok(!matches!(plan.length, Length::Claimed(_)))
        }
    }
}

fn send_body(
    shared: &Shared,
    wire: &mut Wire,
    request: &Seen,
    body: &[u8],
    plan: &Plan,
) -> io::Result<()> {
    let mut at = 0;
    let mut gates = plan.body_gates.iter();
    loop {
        let gate = gates.next();
        let until = gate.map_or(body.len(), |(offset, _)| (*offset).min(body.len()));
        for slice in body[at..until].chunks(SLICE) {
            if plan.length == Length::Chunked {
                wire.send(format!("{:x}\r\n", slice.len()).as_bytes())?;
                wire.send(slice)?;
                wire.send(b"\r\n")?;
            } else {
                wire.send(slice)?;
            }
            let mut sent = shared.sent.lock().unwrap();
            *sent.entry(request.path().to_owned()).or_default() += slice.len() as u64;
        }
        at = until;
        match gate {
            Some((_, gate)) => gate.wait(),
            None => return Ok(()),
        }
    }
}

fn head(answer: &Answer, plan: &Plan, body_length: usize) -> String {
    let mut head = format!("HTTP/1.1 {} As Scripted\r\n", answer.status);
    for (name, value) in &answer.fields {
        head += &format!("{name}: {value}\r\n");
    }
    match plan.length {
        Length::Chunked => head += "Transfer-Encoding: chunked\r\n",
        Length::Claimed(length) => head += &format!("Content-Length: {length}\r\n"),
        Length::True if answer.status == 304 => {}
        Length::True => head += &format!("Content-Length: {body_length}\r\n"),
    }
    head + "\r\n"
}
