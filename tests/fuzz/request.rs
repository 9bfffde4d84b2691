//! The request head: one result however it arrives, and the same reading as httparse's.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use transship::http::{HeadScan, Request, RequestError, Version, parse};

/// Errors that httparse need not share: where we are stricter on purpose, and why.
const DELIBERATE: [RequestError; 13] = [
    RequestError::BareLf,        // httparse takes LF for CRLF
    RequestError::EmptyLines,    // it skips any number of them
    RequestError::MethodUnknown, // it knows no methods
    RequestError::Target,        // it takes any visible byte
    RequestError::FieldRepeated, // it gives fields no meaning, here and below
    RequestError::HostMissing,
    RequestError::HostInvalid,
    RequestError::ContentLength,
    RequestError::FramingAmbiguous,
    RequestError::TransferEncodingInHttp10,
    RequestError::TransferCodingUnknown,
    RequestError::Expectation,
    RequestError::TooManyFields, // given room for more than we take
];

/// The body of a fuzz target: one result however split, and agreement with httparse.
pub fn check(bytes: &[u8]) {
    let whole = HeadScan::new().scan(bytes);
    assert_eq!(scan_in_steps(bytes, 1), whole, "byte by byte");
    for cut in 0..bytes.len() {
        let mut scan = HeadScan::new();
        let split = match scan.scan(&bytes[..cut]) {
            Ok(None) => scan.scan(bytes),
            done => done,
        };
        assert_eq!(split, whole, "split at {cut}");
    }
    let ours = match whole {
        Ok(None) => return,
        Ok(Some(end)) => parse(&bytes[..end]),
        Err(error) => Err(error),
    };
    let mut fields = [httparse::EMPTY_HEADER; 256];
    let mut theirs = httparse::Request::new(&mut fields);
    let complete = match theirs.parse(bytes) {
        Ok(httparse::Status::Complete(end)) => Some(end),
        Ok(httparse::Status::Partial) | Err(_) => None,
    };
    match (ours, complete) {
        (Ok(request), Some(end)) => {
            assert_eq!(whole, Ok(Some(end)));
            assert_same(&request, &theirs);
        }
        (Ok(request), None) => panic!("httparse refuses {request:?}"),
        (Err(error), Some(_)) => assert!(DELIBERATE.contains(&error), "{error:?}"),
        (Err(_), None) => {}
    }
}

fn scan_in_steps(bytes: &[u8], step: usize) -> Result<Option<usize>, RequestError> {
    let mut scan = HeadScan::new();
    for end in (0..bytes.len()).step_by(step) {
        let found = scan.scan(&bytes[..end])?;
        if found.is_some() {
            return Ok(found);
        }
    }
    scan.scan(bytes)
}

fn assert_same(ours: &Request<'_>, theirs: &httparse::Request<'_, '_>) {
    assert_eq!(Some(ours.method.name()), theirs.method);
    assert_eq!(
        Some(u8::from(ours.version == Version::Http11)),
        theirs.version
    );
    let target = theirs.path.unwrap();
    let query = ours
        .query
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let path = format!("{}{query}", ours.path);
    if target.starts_with(['/', '*']) {
        assert_eq!(path, target);
    } else {
        let host = ours.host.unwrap();
        let rest = target
            .split_once("://")
            .unwrap()
            .1
            .strip_prefix(host)
            .unwrap();
        assert!(rest == path || format!("/{rest}") == path);
    }
    let fields: Vec<_> = ours.fields().collect();
    let expected: Vec<_> = theirs.headers.iter().map(|h| (h.name, h.value)).collect();
    assert_eq!(fields, expected);
    let accept = expected
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    assert!(ours.accept.clone().eq(accept.map(|&(_, value)| value)));
}

fn heads() -> impl Strategy<Value = Vec<u8>> {
    let method = select(vec!["GET", "HEAD", "POST", "OPTIONS", "get", "BREW"]);
    let target = prop_oneof![
        "/[a-z0-9/._:%?&=-]{0,24}",
        "https?://[a-z.]{1,6}(:[0-9]{1,6})?(/[a-z?]{0,4})?",
        select(vec!["*", "/a%2fb", "http://[::1]:1/", "a:80"]).prop_map(str::to_owned),
    ];
    let version = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.2"]);
    let field = prop_oneof![
        "[A-Za-z-]{1,8}:[ \t]{0,2}[ -~]{0,12}[ \t]{0,2}",
        select(vec![
            "Host: a",
            "Accept: a/b",
            "accept:*/*",
            "Range: bytes=0-",
            "Content-Length: 3",
            "Content-Length: +3",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Connection: close",
            "If-None-Match: *",
            " folded",
            "X: \u{e9}",
        ])
        .prop_map(str::to_owned),
    ];
    let fields = prop::collection::vec(field, 0..5);
    (method, target, version, fields).prop_map(|(method, target, version, fields)| {
        let lines: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
        format!("{method} {target} {version}\r\nHost: h\r\n{lines}\r\n").into_bytes()
    })
}

fn mutated_heads() -> impl Strategy<Value = Vec<u8>> {
    let bytes = select(b"\r\n\0\t :/?#%,;\"\\aZ0\x01\x0b\x7f\x80\xff".to_vec());
    let edits = prop::collection::vec((any::<Index>(), 0..3, bytes), 0..4);
    (heads(), edits).prop_map(|(mut head, edits)| {
        for (index, edit, byte) in edits {
            let at = index.index(head.len());
            match edit {
                0 => head[at] = byte,
                1 => head.insert(at, byte),
                _ => drop(head.remove(at)),
            }
        }
        head
    })
}

proptest! {
    #[test]
    fn heads_are_read_as_httparse_reads_them(head in heads()) {
        check(&head);
    }

    #[test]
    fn mutated_heads_are_read_as_httparse_reads_them_or_refused(head in mutated_heads()) {
        check(&head);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        check(&bytes);
        let _ = parse(&bytes);
    }
}
