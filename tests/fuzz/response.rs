//! Response heads that are written: whatever a value holds, it stays within its line.

use transship::http::{Connection, Framing, ResponseHead};

/// The first line is a name, the next lines (as LF ends them) values: nothing of it is trusted.
pub fn check(bytes: &[u8]) {
    let mut parts = bytes.split(|&byte| byte == b'|');
    let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let mut out = Vec::new();
    let mut head = ResponseHead::begin(&mut out, 200, "Sun, 06 Nov 1994 08:49:37 GMT");
    let mut asked = 0;
    for value in parts {
        head = head.field("X-Value", value).field(&name, value);
        asked += 2;
    }
    head.finish(Framing::Length(7), Connection::Close);

    let mut fields = [httparse::EMPTY_HEADER; 1200];
    let mut read = httparse::Response::new(&mut fields);
    let end = read.parse(&out).expect("a head that httparse reads");
    assert_eq!(end, httparse::Status::Complete(out.len()), "it ends once");
    let names: Vec<_> = read.headers.iter().map(|field| field.name).collect();
    assert!(names.len() <= asked + 3);
    assert_eq!(names[names.len() - 2..], ["Content-Length", "Connection"]);
    let own = |field: &&str| *field == "X-Value" || **field == name;
    let others = names.iter().filter(|name| !own(name)).count();
    assert!(others <= 3, "{names:?}");
}
