//! Ranges of a blob that is here (RFC 9110 §14).

use crate::support::{Blob, Client, Reply, Rig, assert_same};

const SIZE: usize = 300_000;

fn range(client: &mut Client, blob: &Blob, range: &str) -> Reply {
    client.call("GET", &blob.path(), &[("Range", range)])
}

#[test]
fn single_open_and_suffix_ranges_are_exact() {
    // dockerd resumes only when start and end are exactly what it expects.
    let rig = Rig::start();
    let blob = rig.hit(1, SIZE);
    let mut client = rig.transship.client();
    for (asked, from, to) in [
        ("bytes=0-", 0, SIZE),
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=299999-", 299_999, SIZE),
        ("bytes=1000-999999999", 1000, SIZE),
        ("bytes=-1", SIZE - 1, SIZE),
        ("bytes=-999999999", 0, SIZE),
    ] {
        let reply = range(&mut client, &blob, asked);
        assert_eq!(reply.status(), 206, "{asked}");
        let wanted = format!("bytes {from}-{}/{SIZE}", to - 1);
        assert_eq!(reply.field("content-range"), Some(wanted.as_str()));
        assert_eq!(reply.head.length(), Some((to - from) as u64));
        assert_same(&reply.body, &blob.bytes[from..to]);
    }
}

#[test]
fn several_ranges_come_as_multipart() {
    // zstd:chunked pulls of podman ask for many pieces at once.
    let rig = Rig::start();
    let blob = rig.hit(2, SIZE);
    let mut client = rig.transship.client();
    let reply = range(&mut client, &blob, "bytes=0-99, 200-299,-100");
    assert_eq!(reply.status(), 206);
    assert!(reply.whole);
    let wanted = [(0, 100), (200, 300), (SIZE - 100, SIZE)];
    let parts = multipart(&reply);
    assert_eq!(parts.len(), wanted.len());
    for ((content_range, bytes), (from, to)) in parts.iter().zip(wanted) {
        assert_eq!(*content_range, format!("bytes {from}-{}/{SIZE}", to - 1));
        assert_same(bytes, &blob.bytes[from..to]);
    }
    assert_eq!(client.get("/v2/").status(), 200, "the framing is intact");
}

/// Takes a `multipart/byteranges` body (RFC 9110 §14.6) apart.
fn multipart(reply: &Reply) -> Vec<(String, Vec<u8>)> {
    let content_type = reply.field("content-type").unwrap();
    let boundary = content_type
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap_or_else(|| panic!("{content_type}"))
        .trim_matches('"');
    let mut rest = &reply.body[..];
    let mut parts = Vec::new();
    let delimiter = format!("--{boundary}");
    rest = after(rest, delimiter.as_bytes());
    while !rest.starts_with(b"--") {
        let end = find(rest, b"\r\n\r\n").expect("a part has a head");
        let head = String::from_utf8(rest[..end].to_vec()).unwrap();
        let content_range = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-range"))
            .map(|(_, value)| value.to_owned())
            .expect("a part has a Content-Range");
        rest = &rest[end + 4..];
        let delimiter = format!("\r\n--{boundary}");
        let end = find(rest, delimiter.as_bytes()).expect("a part ends");
        parts.push((content_range, rest[..end].to_vec()));
        rest = &rest[end + delimiter.len()..];
    }
    parts
}

fn after<'a>(bytes: &'a [u8], what: &[u8]) -> &'a [u8] {
    let at = find(bytes, what).unwrap_or_else(|| panic!("no {}", String::from_utf8_lossy(what)));
    &bytes[at + what.len()..]
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[test]
fn a_range_beyond_the_end_tells_the_size() {
    // A client that resumes a complete download learns from this that it is done.
    let rig = Rig::start();
    let blob = rig.hit(3, SIZE);
    let mut client = rig.transship.client();
    for asked in ["bytes=300000-", "bytes=300000-300001", "bytes=-0"] {
        let reply = range(&mut client, &blob, asked);
        assert_eq!(reply.status(), 416, "{asked}");
        let wanted = format!("bytes */{SIZE}");
        assert_eq!(reply.field("content-range"), Some(wanted.as_str()));
        assert!(reply.whole, "its length is true");
    }
    assert_eq!(client.get("/v2/").status(), 200, "the framing is intact");
}

#[test]
fn a_range_that_is_no_range_is_ignored() {
    // RFC 9110 §14.2: an unknown unit or a malformed set gets the whole.
    let rig = Rig::start();
    let blob = rig.hit(4, SIZE);
    let mut client = rig.transship.client();
    for asked in ["lines=0-5", "bytes=5-1", "bytes=", "bytes=a-b", "0-5"] {
        let reply = range(&mut client, &blob, asked);
        assert_eq!(reply.status(), 200, "{asked}");
        assert_same(&reply.body, &blob.bytes);
    }
}

#[test]
fn if_range_decides_between_the_range_and_the_whole() {
    // A resumed download would be glued together from two different files.
    let rig = Rig::start();
    let blob = rig.hit(5, SIZE);
    let mut client = rig.transship.client();
    let etag = format!("\"{}\"", blob.digest);
    let weak = format!("W/{etag}");
    for (validator, status) in [(etag.as_str(), 206), ("\"other\"", 200), (&weak, 200)] {
        let fields = [("Range", "bytes=100-199"), ("If-Range", validator)];
        let reply = client.call("GET", &blob.path(), &fields);
        assert_eq!(reply.status(), status, "{validator}");
        let wanted = if status == 206 {
            &blob.bytes[100..200]
        } else {
            &blob.bytes[..]
        };
        assert_same(&reply.body, wanted);
    }
}

#[test]
fn a_range_on_head_changes_nothing_but_says_the_size() {
    // Clients that probe with HEAD and Range read the size from Content-Length.
    let rig = Rig::start();
    let blob = rig.hit(6, SIZE);
    let mut client = rig.transship.client();
    let reply = client.call("HEAD", &blob.path(), &[("Range", "bytes=0-9")]);
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.head.length(), Some(SIZE as u64));
    assert_eq!(client.get("/v2/").status(), 200, "no body followed");
}
