//! The status page: one static document without a figure in it, which asks `/v1/live` for them.
//!
//! What a browser may do with it is as narrow as it goes: the one script and the one style sheet within, known
//! by their hashes, and questions to this very address. No other page may show it in a frame.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::page::Page;
use crate::digest::{Algorithm, Digest};

const DOCUMENT: &str = include_str!("status.html");

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |tag| {
        let digest = Digest::of(Algorithm::Sha256, within(tag).as_bytes());
        STANDARD.encode(digest.raw())
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    )
});

static FIELDS: LazyLock<[(&str, &str); 4]> = LazyLock::new(|| {
    [
        ("Content-Security-Policy", POLICY.as_str()),
        ("Referrer-Policy", "no-referrer"),
        ("X-Frame-Options", "DENY"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
    ]
});

pub(super) fn page() -> Page {
    Page {
        policy: FIELDS.as_slice(),
        ..Page::new(200, "text/html; charset=utf-8", DOCUMENT.to_owned())
    }
}

/// Returns what stands within the one element of this name.
fn within(tag: &str) -> &'static str {
    let (_, rest) = DOCUMENT.split_once(&format!("<{tag}>")).unwrap_or_default();
    rest.split_once(&format!("</{tag}>"))
        .map_or("", |(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_document_that_needs_nothing_from_outside() {
        // The hashes would not cover a second script, nor an attribute with code or style in it.
        for tag in ["script", "style"] {
            assert_eq!(DOCUMENT.matches(&format!("<{tag}")).count(), 1, "{tag}");
            assert!(within(tag).len() > 100, "{tag}");
        }
        for word in [
            " style=",
            " onclick=",
            "innerHTML",
            "insertAdjacentHTML",
            "eval(",
            "https://",
            " src=",
        ] {
            assert!(!DOCUMENT.contains(word), "{word}");
        }
        let head = String::from_utf8(page().write()).unwrap();
        assert!(head.contains("\r\nContent-Security-Policy: default-src 'none'; script-src"));
        assert!(head.contains("frame-ancestors 'none'"));
        assert!(head.contains("\r\nReferrer-Policy: no-referrer\r\n"));
        assert!(head.contains("\r\nX-Content-Type-Options: nosniff\r\n"));
    }
}
