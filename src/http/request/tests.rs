//! Tables of what is taken and refused. `tests/fuzz` has the properties: httparse, splitting.

use super::*;
use crate::limits::{REQUEST_HEAD_BYTES_MAX, REQUEST_TARGET_BYTES_MAX};

/// Scans and parses as the server does, all bytes at once.
fn read(bytes: &[u8]) -> Result<Request<'_>, RequestError> {
    let end = HeadScan::new().scan(bytes)?;
    parse(&bytes[..end.ok_or(RequestError::Unterminated)?])
}

fn with_fields(fields: &str) -> String {
    format!("GET /v2/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

#[test]
fn a_pull_is_read_with_every_field_in_its_place() {
    let head = b"GET /v2/a/blobs/sha256:0?ns=docker.io HTTP/1.1\r\nHost: r.example:5000\r\n\
        user-agent: containerd/2.1\r\nAccept: a/b\r\nACCEPT:\tc/d \r\nRange: bytes=0-\r\n\
        If-Range: \"x\"\r\nAuthorization: Bearer t\r\nIf-None-Match: \"a\"\r\nVia: 1.1 b\r\n\
        Accept-Encoding: gzip\r\nX-Empty:\r\nContent-Length: 0\r\n\r\n";
    let request = read(head).unwrap();
    assert_eq!(request.method, Method::Get);
    assert_eq!(request.path, "/v2/a/blobs/sha256:0");
    assert_eq!(request.query, Some("ns=docker.io"));
    assert_eq!(request.version, Version::Http11);
    assert_eq!(request.host, Some("r.example:5000"));
    assert_eq!(request.range, Some(&b"bytes=0-"[..]));
    assert_eq!(request.if_range, Some(&b"\"x\""[..]));
    assert_eq!(request.authorization, Some(&b"Bearer t"[..]));
    assert_eq!(request.user_agent, Some(&b"containerd/2.1"[..]));
    assert_eq!(request.body, Body::None);
    assert!(request.keep_alive && !request.expect_continue);
    let accept: Vec<_> = request.accept.clone().collect();
    assert_eq!(accept, [b"a/b", b"c/d"]);
    assert_eq!(request.via.clone().count(), 1);
    assert_eq!(request.if_none_match.clone().count(), 1);
    assert_eq!(request.accept_encoding.clone().count(), 1);
    assert_eq!(request.fields().count(), 12);
    assert_eq!(request.fields().last(), Some(("Content-Length", &b"0"[..])));
    let shown = format!("{request:?}");
    assert!(!shown.contains("Bearer") && !shown.contains("docker.io"));
}

#[test]
fn a_target_has_one_of_its_forms() {
    for (target, path, query, host) in [
        ("/", "/", None, "h"),
        ("/a?", "/a", Some(""), "h"),
        ("/a?b?c", "/a", Some("b?c"), "h"),
        ("//x", "//x", None, "h"),
        ("http://o.example/a?b", "/a", Some("b"), "o.example"),
        ("HTTPS://o.example:1", "/", None, "o.example:1"),
        ("http://o?q", "/", Some("q"), "o"),
        ("http://[::1]:5/x", "/x", None, "[::1]:5"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        let request = read(head.as_bytes()).expect(target);
        assert_eq!(
            (request.path, request.query, request.host),
            (path, query, Some(host))
        );
    }
    let star = read(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(star.path, "*");
}

#[test]
fn connections_stay_or_close_as_version_and_field_say() {
    for (version, field, stays) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Upgrade, CLOSE\r\n", false),
        (
            "1.1",
            "Connection: keep-alive\r\nConnection: close\r\n",
            false,
        ),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let head = format!("GET / HTTP/{version}\r\nHost: h\r\n{field}\r\n");
        assert_eq!(read(head.as_bytes()).unwrap().keep_alive, stays, "{head}");
    }
    assert_eq!(read(b"GET / HTTP/1.0\r\n\r\n").unwrap().host, None);
}

#[test]
fn content_is_framed_by_one_field_only() {
    for (fields, body, waits) in [
        ("Content-Length: 5\r\n", Body::Length(5), false),
        ("Content-Length: 0005\r\n", Body::Length(5), false),
        ("Transfer-Encoding: Chunked\r\n", Body::Chunked, false),
        (
            "Content-Length: 5\r\nExpect: 100-Continue\r\n",
            Body::Length(5),
            true,
        ),
        ("Expect: 100-continue\r\n", Body::None, false),
    ] {
        let head = with_fields(fields);
        let request = read(head.as_bytes()).expect(fields);
        assert_eq!((request.body, request.expect_continue), (body, waits));
    }
}

#[test]
fn what_is_malformed_is_refused_with_its_status() {
    use RequestError as E;
    for (head, error, status) in [
        ("GET / HTTP/1.1\nHost: a\n\n", E::BareLf, 400),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", E::BareLf, 400),
        ("GET / HTTP/1.1\rHost: a\r\n\r\n", E::BareCr, 400),
        ("GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", E::BareCr, 400),
        ("GET /\0 HTTP/1.1\r\n\r\n", E::Nul, 400),
        ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", E::EmptyLines, 400),
        ("\nGET / HTTP/1.1\r\n\r\n", E::BareLf, 400),
        ("GET /\r\n\r\n", E::RequestLine, 400),
        ("GET\r\n\r\n", E::RequestLine, 400),
        (" GET / HTTP/1.1\r\n\r\n", E::RequestLine, 400),
        ("GET  / HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET /  HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET / HTTP/1.1 \r\n\r\n", E::RequestLine, 400),
        ("GET\t/ HTTP/1.1\r\n\r\n", E::RequestLine, 400),
        ("GET  HTTP/1.1\r\n\r\n", E::RequestLine, 400),
        ("G(T / HTTP/1.1\r\n\r\n", E::RequestLine, 400),
        ("GET / http/1.1\r\n\r\n", E::RequestLine, 400),
        ("GET / HTTP/1.10\r\n\r\n", E::RequestLine, 400),
        ("GET / HTTP/1.2\r\n\r\n", E::Version, 505),
        ("GET / HTTP/0.9\r\n\r\n", E::Version, 505),
        ("PRI * HTTP/2.0\r\n\r\n", E::Version, 505),
        ("get / HTTP/1.1\r\n\r\n", E::MethodUnknown, 501),
        ("BREW / HTTP/1.1\r\n\r\n", E::MethodUnknown, 501),
        ("TRACE / HTTP/1.1\r\n\r\n", E::MethodUnknown, 501),
        ("CONNECT a:1 HTTP/1.1\r\n\r\n", E::MethodUnknown, 501),
        ("GET * HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET a:1 HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET a/b HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET /#f HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET /é HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET /\x7f HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET /%zz HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET ftp://a/ HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET http:/a HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET http://u@a/ HTTP/1.1\r\n\r\n", E::HostInvalid, 400),
        ("GET http:///x HTTP/1.1\r\n\r\n", E::HostInvalid, 400),
        ("GET http://[::1/ HTTP/1.1\r\n\r\n", E::Target, 400),
        ("GET / HTTP/1.1\r\n\r\n", E::HostMissing, 400),
        ("GET http://a/ HTTP/1.1\r\n\r\n", E::HostMissing, 400),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", E::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", E::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", E::HostInvalid, 400),
        ("GET / HTTP/1.1\r\nHost: é\r\n\r\n", E::HostInvalid, 400),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            E::FieldRepeated,
            400,
        ),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", E::FoldedField, 400),
    ] {
        let found = read(head.as_bytes()).map(|_| ()).unwrap_err();
        assert_eq!((found, found.status()), (error, status), "{head:?}");
    }
}

#[test]
fn malformed_fields_are_refused_with_their_status() {
    use RequestError as E;
    for (fields, error, status) in [
        ("X: a\r\n b\r\n", E::FoldedField, 400),
        ("X: a\r\n\tb\r\n", E::FoldedField, 400),
        ("X : a\r\n", E::FieldName, 400),
        ("X\t: a\r\n", E::FieldName, 400),
        (": a\r\n", E::FieldName, 400),
        ("X\r\n", E::FieldName, 400),
        ("X(): a\r\n", E::FieldName, 400),
        ("é: a\r\n", E::FieldName, 400),
        ("X: \x01\r\n", E::FieldValue, 400),
        ("X: a\x0bb\r\n", E::FieldValue, 400),
        ("X: a\x7f\r\n", E::FieldValue, 400),
        ("Content-Length:\r\n", E::ContentLength, 400),
        ("Content-Length: 1 1\r\n", E::ContentLength, 400),
        (
            "Content-Length: 18446744073709551616\r\n",
            E::ContentLength,
            400,
        ),
        ("Expect: x\r\n", E::Expectation, 417),
        (
            "Range: bytes=0-\r\nRange: bytes=1-\r\n",
            E::FieldRepeated,
            400,
        ),
        ("If-Range: a\r\nIf-Range: a\r\n", E::FieldRepeated, 400),
        (
            "Authorization: a\r\nAuthorization: b\r\n",
            E::FieldRepeated,
            400,
        ),
    ] {
        let found = read(with_fields(fields).as_bytes())
            .map(|_| ())
            .unwrap_err();
        assert_eq!((found, found.status()), (error, status), "{fields:?}");
    }
}

/// Every one of these has made two real servers disagree about where a request ends.
#[test]
fn smuggling_is_refused() {
    for fields in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: chunkedx\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\n",
        "Transfer-Encoding: chunked,\r\n",
        "Transfer-Encoding: ,chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: \"chunked\"\r\n",
        "Transfer-Encoding: chunked;q=1\r\n",
        "Transfer-Encoding: \x0bchunked\r\n",
        "Transfer-Encoding: chunked\x0c\r\n",
        "Transfer-Encoding:\x00chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        "Content-Length: 6\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 7\r\n",
        "Content-Length: 0\r\ncontent-length: 44\r\n",
        "Content-Length: 6, 6\r\n",
        "Content-Length: +6\r\n",
        "Content-Length: -6\r\n",
        "Content-Length: 0x6\r\n",
        "Content-Length: 6 \x0b\r\n",
        "Content-Length: 6;\r\n",
        "Content-Length: ٦\r\n",
        "Content-Length : 6\r\n",
        "Content-Length: 1_0\r\n",
        "Content-Length: 6.0\r\n",
        "Content-Length: \"6\"\r\n",
        "Content-Length: 99999999999999999999999999\r\n",
        "Content-Length: 6\r\n 6\r\n",
        "Host: b\r\n",
    ] {
        let head = with_fields(fields);
        assert!(read(head.as_bytes()).is_err(), "{fields:?}");
    }
    let old = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
    let error = read(old).map(|_| ()).unwrap_err();
    assert_eq!(error, RequestError::TransferEncodingInHttp10);
}

#[test]
fn lengths_and_counts_are_bounded_to_the_byte() {
    let line = |target: usize| {
        format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\n\r\n",
            "x".repeat(target - 1)
        )
    };
    assert!(read(line(REQUEST_TARGET_BYTES_MAX).as_bytes()).is_ok());
    let error = |head: &str| read(head.as_bytes()).map(|_| ()).unwrap_err();
    let long = error(&line(REQUEST_TARGET_BYTES_MAX + 1));
    assert_eq!((long, long.status()), (RequestError::TargetTooLong, 414));
    assert_eq!(error(&"x".repeat(40_000)), RequestError::TargetTooLong);

    let rest = REQUEST_HEAD_BYTES_MAX - with_fields("X: \r\n").len();
    let full = with_fields(&format!("X: {}\r\n", "x".repeat(rest)));
    assert_eq!(full.len(), REQUEST_HEAD_BYTES_MAX);
    assert!(read(full.as_bytes()).is_ok());
    let over = error(&with_fields(&format!("X: {}\r\n", "x".repeat(rest + 1))));
    assert_eq!((over, over.status()), (RequestError::HeadTooLong, 431));

    assert!(read(with_fields(&"X: y\r\n".repeat(HEADERS_MAX - 1)).as_bytes()).is_ok());
    let many = error(&with_fields(&"X: y\r\n".repeat(HEADERS_MAX)));
    assert_eq!((many, many.status()), (RequestError::TooManyFields, 431));
}

#[test]
fn a_head_ends_where_the_next_request_begins() {
    let two = b"\r\nGET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let end = HeadScan::new().scan(two).unwrap().unwrap();
    assert_eq!(parse(&two[..end]).unwrap().path, "/1");
    assert_eq!(read(&two[end..]).unwrap().path, "/2");
    let error = parse(two).map(|_| ()).unwrap_err();
    assert_eq!(error, RequestError::Unterminated);
    for short in 0..end {
        assert!(parse(&two[..short]).is_err());
    }
    assert!(!HeadScan::new().is_started());
}
