//! Requests that two servers read differently: what poses as a body to one is a request to the other.
//!
//! The parser's own tables say which bytes are refused and why (`src/http`). Seen here, at the wire:
//! whatever comes after such a request on its connection is never answered, not even once.

use std::io::Read as _;
use std::net::{Shutdown, TcpStream};

use crate::support::{PATIENCE, Rig};

/// What an attacker wants answered: the response would name `smuggled.test`.
const SMUGGLED: &str = "GET /v2/?ns=smuggled.test HTTP/1.1\r\nHost: a\r\n\r\n";

/// What comes back for `bytes`, to the end of the connection. With `is_all`, nothing more is sent and
/// the client says so; else it is the server that has to close.
fn exchange(rig: &Rig, bytes: &[u8], is_all: bool) -> String {
    let mut stream = TcpStream::connect(rig.transship.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The server may have closed before it was sent everything.
    let _ = std::io::Write::write_all(&mut stream, bytes);
    if is_all {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let reset = error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(reset, "{error}: {:?}", String::from_utf8_lossy(bytes));
    }
    String::from_utf8(answer).unwrap()
}

/// The statuses of the responses in `answer`: no body here has a line that begins like this.
fn statuses(answer: &str) -> Vec<u16> {
    let lines = answer.split("HTTP/1.1 ").skip(1);
    lines.map(|line| line[..3].parse().unwrap()).collect()
}

/// Sends each head with a smuggled request behind it; one response of this status, and the end.
#[track_caller]
fn expect_refused(rig: &Rig, status: u16, request: &str) {
    let mut bytes = request.as_bytes().to_vec();
    bytes.extend_from_slice(SMUGGLED.as_bytes());
    let answer = exchange(rig, &bytes, false);
    assert_eq!(statuses(&answer), [status], "{request:?}: {answer}");
    assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    assert!(!answer.contains("smuggled"), "{request:?}: {answer}");
}

/// A request with these field lines and these bytes behind its head.
fn post(fields: &str, body: &str) -> String {
    format!("POST /v2/a/blobs/uploads/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}")
}

#[test]
fn two_framings_of_one_body_are_refused() {
    // CL.TE and TE.CL: one side reads the length, the other the chunks.
    let rig = Rig::start();
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
        "Content-Length: 0\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: Chunked\r\ncontent-length:0",
        "Content-Length: 6\r\nX: y\r\nTRANSFER-ENCODING:\tchunked\t",
    ] {
        for body in ["0\r\n\r\nG", "5c\r\nGPOST / HTTP/1.1\r\n\r\n0\r\n\r\n", ""] {
            expect_refused(&rig, 400, &post(fields, body));
        }
    }
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    expect_refused(&rig, 400, old);
}

#[test]
fn a_transfer_coding_in_disguise_is_refused() {
    // TE.TE: one side sees through the disguise, the other takes the body for empty.
    let rig = Rig::start();
    for (status, fields) in [
        (501, "Transfer-Encoding: xchunked"),
        (501, "Transfer-Encoding: chunkedx"),
        (501, "Transfer-Encoding: identity"),
        (501, "Transfer-Encoding: gzip, chunked"),
        (501, "Transfer-Encoding: chunked, identity"),
        (501, "Transfer-Encoding: identity, chunked"),
        (501, "Transfer-Encoding: chunked, chunked"),
        (501, "Transfer-Encoding: chunked,"),
        (501, "Transfer-Encoding: ,chunked"),
        (501, "Transfer-Encoding: \"chunked\""),
        (501, "Transfer-Encoding: 'chunked'"),
        (501, "Transfer-Encoding: chunked;q=1"),
        (501, "Transfer-Encoding: chunked\u{a0}"),
        (501, "Transfer-Encoding: ch\u{2c5}unked"),
        (501, "Transfer-Encoding:"),
        (400, "Transfer-Encoding: \u{b}chunked"),
        (400, "Transfer-Encoding: chunked\u{b}"),
        (400, "Transfer-Encoding: chunked\u{c}"),
        (400, "Transfer-Encoding:\0chunked"),
        (400, "Transfer-Encoding: chunked\0"),
        (400, "Transfer-Encoding: chunked\u{7f}"),
        (400, "Transfer-Encoding : chunked"),
        (400, "Transfer-Encoding\t: chunked"),
        (400, "\tTransfer-Encoding: chunked"),
        (400, " Transfer-Encoding: chunked"),
        (400, "X: y\r\n Transfer-Encoding: chunked"),
        (400, "Transfer-Encoding\r\n: chunked"),
        (501, "Transfer-Encoding:\r\n chunked"),
        (400, "Transfer-Encoding: chunked\r\n x"),
        (400, "Transfer-Encoding: chunked\r\r"),
        (400, "X: y\rTransfer-Encoding: chunked"),
        (400, "X: y\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\nX: y"),
        (
            400,
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        ),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
        (501, "Transfer-Encoding: x\r\nTransfer-Encoding: chunked"),
        (400, "Transfer\u{2010}Encoding: chunked"),
        (400, "Transfer-Encoding chunked"),
        (400, ": chunked"),
        (400, "Transfer-Enc\0oding: chunked"),
    ] {
        expect_refused(&rig, status, &post(fields, "0\r\n\r\n"));
    }
}

#[test]
fn a_length_that_is_none_is_refused() {
    // Each of these is 0, 5, 10 or an error, depending on who reads it.
    let rig = Rig::start();
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5",
        "Content-Length: 5\r\nContent-Length: 0",
        "Content-Length: 0\r\ncontent-length: 5",
        "Content-Length: 5,5",
        "Content-Length: 5, 5",
        "Content-Length: 5,0",
        "Content-Length: +5",
        "Content-Length: -5",
        "Content-Length: 0x5",
        "Content-Length: 5.0",
        "Content-Length: 5e0",
        "Content-Length: 1_0",
        "Content-Length: 5 5",
        "Content-Length: \"5\"",
        "Content-Length: 5;x",
        "Content-Length:",
        "Content-Length: \u{665}",
        "Content-Length: 5\u{b}",
        "Content-Length: \u{0}5",
        "Content-Length : 5",
        "Content-Length\t: 5",
        " Content-Length: 5",
        "Content-Length:\r\n 5",
        "Content-Length: 5\r\n 0",
        "Content-Length: 18446744073709551616",
        "Content-Length: 18446744073709551621",
        "Content-Length: 99999999999999999999999999999",
    ] {
        expect_refused(&rig, 400, &post(fields, "abcde"));
    }
}

#[test]
fn a_first_line_or_line_end_of_ones_own_is_refused() {
    // A line that ends early for one reader makes two requests of one.
    let rig = Rig::start();
    let get = |rest: &str| format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{rest}");
    for (status, request) in [
        (400, "GET /v2/ HTTP/1.1\nHost: a\n\n".to_owned()),
        (400, "GET /v2/ HTTP/1.1\r\nHost: a\n\r\n".to_owned()),
        (400, get("\n")),
        (400, get("\r\r\n")),
        (400, get("X: a\rb\r\n\r\n")),
        (400, get("X: a\r\n\rY: b\r\n\r\n")),
        (400, get("X: a\0b\r\n\r\n")),
        (400, get("X: a\r\n b\r\n\r\n")),
        (400, get("X: a\r\n\tb\r\n\r\n")),
        (400, get("X\r\n\r\n")),
        (400, get("Host: b\r\n\r\n")),
        (400, "\nGET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (
            400,
            "\r\n\r\nGET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (400, "\rGET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, " GET /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET\t/v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /v2/\tHTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET  /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /v2/ /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /v2/\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /v2/ HTTP/1.1\r\n\r\n".to_owned()),
        (400, "GET /v2/ http/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /v2/ HTTP/01.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET /v2/ HTTP/1.1.1\r\nHost: a\r\n\r\n".to_owned()),
        (505, "GET /v2/ HTTP/0.9\r\nHost: a\r\n\r\n".to_owned()),
        (505, "GET /v2/ HTTP/1.2\r\nHost: a\r\n\r\n".to_owned()),
        (505, "GET /v2/ HTTP/2.0\r\nHost: a\r\n\r\n".to_owned()),
        (505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned()),
        (400, "\u{16}\u{3}\u{1}\r\n\r\n".to_owned()),
        (501, "get /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (501, "CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (501, "TRACE /v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (
            400,
            "GET http://u:p@a/v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (400, "GET http:/v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (
            400,
            "GET ftp://a/v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        ),
        (400, "GET v2/ HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        (400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
    ] {
        expect_refused(&rig, status, &request);
    }
}

#[test]
fn after_a_malformed_body_nothing_more_is_answered() {
    // Where such a body ends is anybody's guess. Its request has been answered; that is all.
    let rig = Rig::start();
    let long = "x".repeat(20_000);
    let bodies = [
        // Not a size.
        "\r\n",
        "g\r\n",
        "-1\r\n",
        "+1\r\n",
        " 1\r\nx\r\n",
        "0x1\r\nx\r\n",
        "1_0\r\n",
        // Sizes that overflow 32 or 64 bits, or have too many digits.
        "ffffffffffffffff\r\n",
        "10000000000000000\r\n",
        "0000000000000000000001\r\nx\r\n",
        // Extensions: nobody sends them but to smuggle.
        "1;a=b\r\nx\r\n0\r\n\r\n",
        "1 ;a\r\nx\r\n0\r\n\r\n",
        "1;a=\"\r\n\"\r\nx\r\n0\r\n\r\n",
        "1;a\nb\r\nx\r\n0\r\n\r\n",
        "1;\r\nx\r\n",
        "0;a\r\n\r\n",
        "1 \r\nx\r\n",
        "1\t\r\nx\r\n",
        &format!("1;{long}\r\nx\r\n0\r\n\r\n"),
        // Line ends.
        "1\nx\r\n0\r\n\r\n",
        "1\rx\r\n",
        "1\r\nx\n0\r\n\r\n",
        "1\r\nx0\r\n\r\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "0\n\n",
        "0\r\n\n",
        "0\r\n\rX",
        "0\r\n\0\r\n",
        // The last chunk without its end: the smuggled request stands where a trailer would.
        "0\r\n",
        "1\r\nx\r\n0\r\n",
        "0\r\nX",
        // Trailers.
        "0\r\n x: y\r\n\r\n",
        "0\r\nx : y\r\n\r\n",
        "0\r\n: y\r\n\r\n",
        "0\r\nx\r\n\r\n",
        "0\r\nx: y\r\n z\r\n\r\n",
        "0\r\nx: \u{1}\r\n\r\n",
        &format!("0\r\nx: {long}\r\n\r\n"),
        // More than is read to keep a connection.
        &format!("ffff\r\n{}\r\n2\r\nxx\r\n0\r\n\r\n", "x".repeat(65_535)),
    ];
    for body in bodies {
        let mut bytes = post("Transfer-Encoding: chunked", body);
        bytes += SMUGGLED;
        let answer = exchange(&rig, bytes.as_bytes(), false);
        let shown = &body[..body.len().min(60)];
        assert_eq!(statuses(&answer), [405], "{shown:?}: {answer}");
    }
}

#[test]
fn what_a_body_holds_is_never_a_request() {
    // The legal forms: every one is read to exactly its end, and the next request is answered.
    let rig = Rig::start();
    let length = SMUGGLED.len();
    let hex = format!("{length:x}\r\n{SMUGGLED}\r\n");
    let legal = [
        post(&format!("Content-Length: {length}"), SMUGGLED),
        post(&format!("Content-Length: 000{length}"), SMUGGLED),
        post(&format!("content-length:\t{length} \t"), SMUGGLED),
        post("Transfer-Encoding: chunked", &format!("{hex}0\r\n\r\n")),
        post("TRANSFER-ENCODING:CHUNKED", &format!("{hex}{hex}0\r\n\r\n")),
        post(
            "transfer-encoding: \t chunked \t ",
            &format!("00{}0000\r\n\r\n", hex.to_uppercase()),
        ),
        post(
            "Transfer-Encoding: chunked",
            &format!("{hex}0\r\nX: {}\r\n\r\n", "GET /v2/ HTTP/1.1"),
        ),
        // A trailer frames nothing, whatever it says.
        post(
            "Transfer-Encoding: chunked",
            "0\r\nContent-Length: 100\r\nTransfer-Encoding: x\r\n\r\n",
        ),
        post("TE: trailers, chunked\r\nX-Transfer-Encoding: chunked", ""),
        post("Content-Length: 0", ""),
        post("Content-Encoding: chunked", ""),
    ];
    let last = "GET /v2/?ns=last.test HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    for request in legal {
        let answer = exchange(&rig, format!("{request}{last}").as_bytes(), false);
        assert_eq!(statuses(&answer), [405, 200], "{request:?}: {answer}");
        assert!(answer.contains("OCI-Namespace: last.test\r\n"), "{answer}");
        assert!(!answer.contains("smuggled"), "{request:?}: {answer}");
    }
}

#[test]
fn a_body_that_is_not_read_ends_the_connection() {
    // Too long to be read, or held back until the client is told to go on.
    let rig = Rig::start();
    for fields in [
        "Content-Length: 65537".to_owned(),
        "Content-Length: 18446744073709551615".to_owned(),
        format!("Content-Length: {}\r\nExpect: 100-continue", SMUGGLED.len()),
        "Transfer-Encoding: chunked\r\nExpect: 100-continue".to_owned(),
    ] {
        let bytes = post(&fields, SMUGGLED);
        let answer = exchange(&rig, bytes.as_bytes(), false);
        assert_eq!(statuses(&answer), [405], "{fields}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
}

#[test]
fn a_request_that_is_cut_short_is_not_answered() {
    // A cut must not turn the start of one request into another.
    let rig = Rig::start();
    let whole = "GET /v2/ HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    for end in 1..whole.len() {
        let answer = exchange(&rig, &whole.as_bytes()[..end], true);
        assert_eq!(answer, "", "{:?}", &whole[..end]);
    }
    for body in ["", "5\r\nab", "0\r\n", "0\r\n\r", "0\r\nX: y\r\n"] {
        let bytes = post("Transfer-Encoding: chunked", body);
        let answer = exchange(&rig, bytes.as_bytes(), true);
        assert_eq!(statuses(&answer), [405], "{body:?}");
    }
}

#[test]
fn the_authority_of_a_target_replaces_host_and_leads_nowhere_else() {
    // A cache that went where a client's target points would be an open proxy.
    let rig = Rig::start();
    let blob = rig.hit(1, 1000);
    let asked = rig.origin.seen().len();
    for authority in [
        "evil.test",
        "127.0.0.1:1",
        "[::1]:80",
        &rig.origin.addr.to_string(),
    ] {
        let mut client = rig.transship.client();
        let target = format!("http://{authority}{}", blob.path());
        assert_eq!(client.get(&target).body, *blob.bytes);
        let absent = format!("http://{authority}/v2/a/manifests/none");
        assert_eq!(client.get(&absent).status(), 404);
        assert_eq!(
            client.get(&format!("http://{authority}/secret")).status(),
            404
        );
    }
    let seen = rig.origin.seen();
    assert_eq!(
        seen.len(),
        asked + 4,
        "the manifests went to the origin, nothing elsewhere"
    );
    let host = rig.origin.addr.to_string();
    for request in &seen {
        assert!(!request.target.contains("http"), "{}", request.target);
        assert_eq!(request.field("host"), Some(host.as_str()));
    }
}
