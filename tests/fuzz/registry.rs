//! Words of the registry API: what is read has one spelling and is safe wherever it is written.

use proptest::prelude::*;
use transship::digest::Digest;
use transship::http::grammar::{is_target, is_token};
use transship::registry::{Name, NextPage, Reference, Route, challenge, media_type};

const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Runs a property of text; bytes that are none never get as far as to these readers.
fn with_text(bytes: &[u8], check: impl Fn(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        check(text);
    }
}

/// A path that is a route is the one spelling of that route, but for those that the API has twice and
/// the colon.
fn check_path(path: &str) {
    let spelled = match Route::parse(path, "/") {
        Ok(Route::Blob { name, digest }) => format!("/v2/{name}/blobs/{digest}"),
        Ok(Route::Manifest { name, reference }) => format!("/v2/{name}/manifests/{reference}"),
        Ok(Route::Tags { name }) => format!("/v2/{name}/tags/list"),
        Ok(Route::Referrers { name, digest }) => format!("/v2/{name}/referrers/{digest}"),
        Ok(Route::Root | Route::Base | Route::Catalog | Route::Upload { .. }) | Err(_) => return,
    };
    assert_eq!(
        path.replacen("%3A", ":", 1).replacen("%3a", ":", 1),
        spelled
    );
    assert!(is_target(spelled.as_bytes()), "{spelled}");
    assert!(!spelled.contains("//") && !spelled.contains("/.") && !spelled.contains('%'));
}

pub fn check_route(bytes: &[u8]) {
    with_text(bytes, |path| {
        check_path(path);
        check_path(&path.replace("HEX", HEX));
    });
}

pub fn check_name(bytes: &[u8]) {
    with_text(bytes, |text| {
        if let Ok(name) = Name::parse(text) {
            assert_eq!(name.to_string(), text);
            let plain =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-/".contains(&b);
            assert!(text.bytes().all(plain) && text.len() <= 255, "{text:?}");
            let parts = text.split('/');
            assert!(
                parts
                    .into_iter()
                    .all(|part| !part.is_empty() && !part.starts_with('.'))
            );
            assert!(!text.contains(".."));
        }
        if let Ok(reference) = Reference::parse(text) {
            assert_eq!(reference.to_string(), text);
            assert!(is_target(text.as_bytes()) && !text.contains(['/', '?', '%']));
        }
    });
}

pub fn check_digest(bytes: &[u8]) {
    with_text(bytes, |text| {
        if let Ok(digest) = text.parse::<Digest>() {
            assert_eq!(digest.to_string(), text);
            assert_eq!(digest.text().as_ref(), text.as_bytes());
            assert!(text.ends_with(&digest.hex()));
            assert_eq!(digest.raw().len() * 2, digest.hex().len());
        }
    });
}

pub fn check_challenge(bytes: &[u8]) {
    with_text(bytes, |value| {
        let Ok(challenges) = challenge::parse(value) else {
            return;
        };
        assert!(challenges.len() <= 16);
        for challenge in &challenges {
            assert!(is_token(challenge.scheme.as_bytes()));
            for name in ["realm", "service", "scope", "error"] {
                let value = challenge.parameter(name).unwrap_or_default();
                assert!(!value.contains(['\r', '\n', '\0']), "{value:?}");
            }
        }
        // What was understood is understood again when it is written plainly.
        if let Some(realm) = challenges.first().and_then(|c| c.parameter("realm")) {
            let escaped = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let again = format!("Bearer realm=\"{escaped}\"");
            let again = challenge::parse(&again).unwrap();
            assert_eq!(again[0].parameter("realm"), Some(realm));
        }
    });
}

pub fn check_next_page(bytes: &[u8]) {
    with_text(bytes, |value| {
        if let Some(page) = NextPage::parse(value) {
            assert!(page.path.is_empty() || page.path.starts_with('/'));
            assert!(!page.path.starts_with("//") && !page.path.contains('?'));
            assert!(is_target(page.path.as_bytes()));
            assert!(is_target(page.query.unwrap_or_default().as_bytes()));
        }
    });
}

pub fn check_media_type(bytes: &[u8]) {
    with_text(bytes, |value| {
        if let Some(essence) = media_type::essence(value) {
            assert_eq!(media_type::essence(essence), Some(essence));
            let (kind, subtype) = essence.split_once('/').unwrap();
            assert!(is_token(kind.as_bytes()) && is_token(subtype.as_bytes()));
            assert!(essence.len() <= 255);
        }
    });
}

fn part() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "b.c",
        "blobs",
        "manifests",
        "tags",
        "list",
        "referrers",
        "uploads",
        "..",
        "%2f",
        "",
    ])
}

proptest! {
    #[test]
    fn a_route_has_one_spelling(
        parts in prop::collection::vec(part(), 0..6),
        last in "(sha256(:|%3A)|)HEX|list".prop_map(|last| last.replace("HEX", HEX)),
    ) {
        check_path(&format!("/v2/{}/{last}", parts.join("/")));
    }

    #[test]
    fn no_path_makes_the_router_panic(path in "/?(v2/)?\\PC{0,30}") {
        check_path(&path);
    }
}
