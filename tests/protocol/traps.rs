//! Paths and values that mean one thing to a checker and another to whoever acts on them.
//!
//! Nothing is normalised on the way in, so there is nothing to get wrong: a blob has one spelling, every
//! other is refused, and neither the disk nor the origin is ever asked for what a client spelled oddly.

use std::fs;

use crate::support::{Blob, Client, Reply, Rig};

const CANARY: &str = "canary: no client may ever read this";

/// A rig whose store holds a blob, with files in and beside its root that nobody may read.
fn rig_with_canaries() -> (Rig, Blob) {
    let rig = Rig::start();
    let blob = rig.hit(1, 1000);
    let root = &rig.transship.storage;
    for path in ["secret", "blobs/secret", "../secret"] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, CANARY).unwrap();
    }
    (rig, blob)
}

fn get_raw(rig: &Rig, target: &[u8]) -> Reply {
    let mut client = rig.transship.client();
    client.send(
        &[
            b"GET ",
            target,
            b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        ]
        .concat(),
    );
    client.reply("GET")
}

/// What stands in a blob's path, and what could be taken for it.
const REPLACED: [(&str, &str); 28] = [
    ("/v2/", "/V2/"),
    ("/v2/", "/v2//"),
    ("/v2/", "/v2/./"),
    ("/v2/", "/v2/../v2/"),
    ("/v2/", "/v2/x/../"),
    ("/v2/", "/v2/x/%2e%2e/"),
    ("/v2/", "/v2/x/%2E%2E%2F"),
    ("/v2/", "/v2/x/..;/"),
    ("/v2/", "/v2;x/"),
    ("/v2/", "/%76%32/"),
    ("/v2/", "/v2%2f"),
    ("/v2/", "/v2%5c"),
    ("/v2/", "/v2\\"),
    ("/test/", "/test%2f"),
    ("/test/", "/test%252f"),
    ("/test/", "/test//"),
    ("/test/", "/test;v=1/"),
    ("/test/", "/Test/"),
    ("/test/", "/t%65st/"),
    ("/test/", "/te%00st/"),
    ("/test/", "/te+st/"),
    ("/blobs/", "/blobs//"),
    ("/blobs/", "/blobs/./"),
    ("/blobs/", "/blobs/../blobs/"),
    ("/blobs/", "/blobs%2f"),
    ("/blobs/", "/blobs;/"),
    ("/blobs/", "/BLOBS/"),
    ("/blobs/", "/bl%6fbs/"),
];

/// What a path could be written between and still be taken for.
const AROUND: [(&str, &str); 15] = [
    ("/", ""),
    ("", "/"),
    ("", "//"),
    ("", "/."),
    ("", "/x/.."),
    ("/.", ""),
    ("/./", ""),
    ("/..", ""),
    ("/x/..", ""),
    ("/%2e%2e", ""),
    ("/v2/..", ""),
    ("/v2/%2e%2e", ""),
    ("http://a/", ""),
    ("http://a/x/..", ""),
    ("http://a/%2e", ""),
];

/// Every way that is known to spell `path` otherwise.
fn spellings(path: &str) -> Vec<Vec<u8>> {
    let (before, digest) = path.rsplit_once('/').unwrap();
    let replaced = REPLACED.iter().map(|(from, to)| path.replacen(from, to, 1));
    let around = AROUND
        .iter()
        .map(|(front, back)| format!("{front}{path}{back}"));
    let digests = digests(digest)
        .into_iter()
        .map(|digest| format!("{before}/{digest}"));
    let text = replaced.chain(around).chain(digests);
    let mut spellings: Vec<_> = text.map(String::into_bytes).collect();
    // A zero byte, and the slash and the dot as UTF-8 has them in two bytes too many.
    for odd in [
        &b"\0"[..],
        b"\xc0\xaf",
        b"\xc0\xae",
        b"\xe0\x80\xaf",
        b"\xff",
    ] {
        let escaped: String = odd.iter().map(|byte| format!("%{byte:02x}")).collect();
        spellings.push([before.as_bytes(), odd, digest.as_bytes()].concat());
        spellings.push([before.as_bytes(), escaped.as_bytes(), digest.as_bytes()].concat());
    }
    spellings
}

/// Every way that is known to spell a digest otherwise.
fn digests(digest: &str) -> Vec<String> {
    let (_, hex) = digest.split_once(':').unwrap();
    vec![
        format!("sha256:{}", hex.to_uppercase()),
        format!("SHA256:{hex}"),
        format!("sha256:{}", &hex[..63]),
        format!("sha256:{hex}0"),
        format!("sha256:{hex}{hex}"),
        format!("sha512:{hex}"),
        format!("sha256:{}%3{}", &hex[..63], &hex[63..]),
        format!("sha256:%{:02x}{}", hex.as_bytes()[0], &hex[1..]),
        format!("sha256%253A{hex}"),
        format!("sha256::{hex}"),
        format!("sha256/{hex}"),
        format!("sha256-{hex}"),
        format!("sha256+x:{hex}"),
        format!("%73ha256:{hex}"),
        format!("{hex}"),
        format!(":{hex}"),
        format!("sha256:{hex};x"),
        format!("sha256:{hex}%00"),
        format!("sha256:{hex}%20"),
        format!("sha256:{hex}%0d%0a"),
        format!("sha256:{hex}%23"),
        format!("sha256:{hex}%3fx"),
        format!("sha256:{hex}.part"),
        format!("../blobs/sha256:{hex}"),
    ]
}

#[test]
fn a_blob_has_one_spelling() {
    // A rule of a proxy before us, or of access here, that goes by the path could be walked around.
    let (rig, blob) = rig_with_canaries();
    let asked = rig.origin.seen().len();
    for target in spellings(&blob.path()) {
        let reply = get_raw(&rig, &target);
        let shown = String::from_utf8_lossy(&target);
        assert!(
            (400..=405).contains(&reply.status()),
            "{shown}: {:?}",
            reply.head
        );
        assert_ne!(reply.body, *blob.bytes, "{shown}");
    }
    let seen = rig.origin.seen();
    assert_eq!(seen.len(), asked, "{:?}", seen.last());
    // The two ways to write the colon are the same spelling to everyone.
    for colon in [":", "%3A", "%3a"] {
        let reply = get_raw(&rig, blob.path().replacen(':', colon, 1).as_bytes());
        assert_eq!(reply.body, *blob.bytes);
    }
}

#[test]
fn no_path_leads_out_of_the_blobs() {
    // The store's other files, or those of the machine.
    let (rig, blob) = rig_with_canaries();
    let asked = rig.origin.seen().len();
    let ups = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2e.",
        "%252e%252e",
        "..%2f..",
        "..%5c..",
        "..\\..",
        "..;",
        "....//",
        "%c0%ae%c0%ae",
        "%uff0e%uff0e",
    ];
    let mut targets = Vec::new();
    for up in ups {
        for depth in 1..5 {
            let path = format!("{up}/").repeat(depth);
            for file in ["secret", "etc/hostname", "%2fetc%2fhostname"] {
                targets.push(format!("/{path}{file}"));
                targets.push(format!("/v2/{path}{file}"));
                targets.push(format!("/v2/a/blobs/{path}{file}"));
                targets.push(format!("/v2/a/blobs/sha256:{path}{file}"));
                targets.push(format!("/v2/a/manifests/{path}{file}"));
                targets.push(format!("/v2/{path}{file}/blobs/{}", blob.digest));
                targets.push(format!("/v2/{path}{file}/manifests/latest"));
                targets.push(format!("/v2/{path}{file}/tags/list"));
                targets.push(format!("/v2/a/blobs/uploads/{path}{file}"));
            }
        }
    }
    for target in [
        "/secret",
        "/blobs/secret",
        "/v2/secret",
        "/v2/blobs/secret",
        "file:///etc/hostname",
    ] {
        targets.push(target.to_owned());
    }
    let mut client = rig.transship.client();
    for target in targets {
        let reply = client.get(&target);
        assert!(
            (400..=405).contains(&reply.status()),
            "{target}: {:?}",
            reply.head
        );
        assert!(!reply.text().contains(CANARY), "{target}");
        if reply.field("connection") == Some("close") {
            client = rig.transship.client();
        }
    }
    let seen = rig.origin.seen();
    assert_eq!(seen.len(), asked, "{:?}", seen.last());
}

/// Bytes that end a line, a field, a query or an element for somebody.
const INJECTIONS: [&str; 8] = [
    "a%0d%0aX-Injected:%201",
    "a%0aX-Injected:%201",
    "a%0dX-Injected:%201",
    "%0d%0a%0d%0aHTTP/1.1%20200%20OK",
    "a%00b",
    "a%c2%85X-Injected:%201",
    "a%7fb",
    "a%ff",
];

fn assert_not_injected(reply: &Reply, what: &str) {
    for (name, value) in &reply.head.fields {
        assert!(
            !name.eq_ignore_ascii_case("x-injected"),
            "{what}: {:?}",
            reply.head
        );
        assert!(
            value.bytes().all(|byte| byte >= b' ' && byte != 0x7f),
            "{what}: {value:?}"
        );
    }
}

#[test]
fn no_value_of_a_client_becomes_a_line_of_a_head() {
    // A forged line of a response poisons caches on the way; one of a request passes for the cache's own.
    let rig = Rig::start();
    let digest = rig.origin.tag("test/image", "v1", "{}");
    let mut client = rig.transship.client();
    for value in INJECTIONS {
        for target in [
            format!("/v2/?ns={value}"),
            format!("/v2/test/image/tags/list?n={value}"),
            format!("/v2/test/image/tags/list?last={value}"),
            format!("/v2/test/image/referrers/{digest}?artifactType={value}"),
            format!("/v2/_catalog?n={value}"),
            format!("/v2/test/image/manifests/{value}"),
            format!("/v2/test/{value}/manifests/v1"),
            format!("/v2/test/{value}/tags/list"),
            format!("/v2/test/image/blobs/sha256:{value}"),
            format!("/v2/test/image/blobs/{digest}{value}"),
            format!("/v2/test/image/blobs/{value}:{}", &digest[7..]),
        ] {
            let reply = client.get(&target);
            assert!(
                (400..=404).contains(&reply.status()),
                "{target}: {:?}",
                reply.head
            );
            assert_not_injected(&reply, &target);
            if reply.field("connection") == Some("close") {
                client = rig.transship.client();
            }
        }
    }
    assert_eq!(rig.origin.seen().len(), 0, "{:?}", rig.origin.seen().last());
}

#[test]
fn what_goes_upstream_is_written_anew() {
    // Bytes that are legal in a query but mean something to the next reader.
    let rig = Rig::start();
    rig.origin.tag("test/image", "v1", "{}");
    let values = [
        "a%20b",
        "a+b",
        "a%26n=9",
        "a%23b",
        "a%3fb",
        "a%2f..%2fb",
        "a%250d%250aX:%201",
        "%3Cb%3E",
        "a%22b",
        "%c3%a9",
        "a;b",
        "a%25",
    ];
    for name in ["n", "last", "artifactType"] {
        for value in values {
            let target = format!("/v2/test/image/tags/list?x=y&{name}={value}&z");
            let reply = rig.transship.get(&target);
            assert_eq!(reply.status(), 200, "{target}");
            assert_not_injected(&reply, &target);
        }
    }
    let seen = rig.origin.seen();
    assert_eq!(seen.len(), 3 * values.len());
    for (at, request) in seen.iter().enumerate() {
        let name = ["n", "last", "artifactType"][at / values.len()];
        let prefix = format!("/v2/test/image/tags/list?{name}=");
        let value = request.target.strip_prefix(&prefix);
        let value = value.unwrap_or_else(|| panic!("{}", request.target));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*+%".contains(&byte);
        assert!(value.bytes().all(plain), "{}", request.target);
        assert!(request.fields.iter().all(|(name, _)| name != "X"));
    }
}

#[test]
fn a_namespace_is_echoed_if_it_is_a_host_and_not_else() {
    // It is the one value of a client that a response's head repeats.
    let rig = Rig::start();
    let long = "a".repeat(300);
    let mut client: Client = rig.transship.client();
    for (value, echoed) in [
        ("docker.io", Some("docker.io")),
        ("r.example:5000", Some("r.example:5000")),
        ("%5b::1%5d:5000", Some("[::1]:5000")),
        ("a%2db", Some("a-b")),
        ("", None),
        ("a/b", None),
        ("a%20b", None),
        ("a%2cb", None),
        ("a;b", None),
        ("%3Cscript%3E", None),
        ("a%22b", None),
        ("u@a", None),
        ("a:b", None),
        ("%c3%a9", None),
        (&long, None),
    ] {
        let reply = client.get(&format!("/v2/?ns={value}"));
        assert_eq!(reply.status(), 200, "{value}");
        assert_eq!(reply.field("oci-namespace"), echoed, "{value}");
    }
}
