//! Catalog and tags: what the caller may see, in pages of the gateway's own.

use serde_json::Value;

use super::{Site, code};

/// Returns all of a listing, and how many pages it had.
fn all(site: &Site, user: &str, first: &str, key: &str) -> (Vec<String>, usize) {
    let (mut names, mut pages, mut target) = (Vec::new(), 0, first.to_owned());
    loop {
        let reply = site.call(user, "GET", &target, b"");
        assert_eq!(reply.status(), 200, "{}", reply.text());
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        let page = body[key].as_array().unwrap().iter();
        names.extend(page.map(|name| name.as_str().unwrap().to_owned()));
        pages += 1;
        let Some(link) = reply.field("link") else {
            return (names, pages);
        };
        let (next, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
        assert_eq!(rest, "; rel=\"next\"");
        assert!(next.starts_with("/v2/") && pages < 100, "{link}");
        target = next.to_owned();
    }
}

#[test]
fn the_catalog_shows_each_what_they_may_pull_and_pages_as_if_that_were_all() {
    let site = Site::start();
    for name in ["test/a", "test/c", "test/e"] {
        site.push("alice", name, "v1");
    }
    for name in ["other/b", "other/d", "other/z"] {
        site.push("dan", name, "v1");
    }
    let of =
        |user: &str, n: usize| all(&site, user, &format!("/v2/_catalog?n={n}"), "repositories");
    let (tests, others) = (
        ["test/a", "test/c", "test/e"],
        ["other/b", "other/d", "other/z"],
    );
    for user in ["alice", "bob"] {
        let (names, pages) = all(&site, user, "/v2/_catalog", "repositories");
        assert_eq!((&*names, pages), (&tests.map(str::to_owned)[..], 1));
        assert_eq!(of(user, 1), (names.clone(), 3));
        assert_eq!(of(user, 2), (names.clone(), 2));
        assert_eq!(
            of(user, 3),
            (names, 1),
            "nothing tells that there are others"
        );
    }
    assert_eq!(of("dan", 2), (others.map(str::to_owned).to_vec(), 2));
    assert_eq!(of("carol", 2), (Vec::new(), 1));
    let bad = site.call("bob", "GET", "/v2/_catalog?n=x", b"");
    assert_eq!(
        (bad.status(), &*code(&bad)),
        (400, "PAGINATION_NUMBER_INVALID")
    );
}

#[test]
fn tags_are_listed_and_referrers_are_what_the_backend_says() {
    let site = Site::start();
    for tag in ["v1", "v2", "v3"] {
        site.push("alice", "test/a", tag);
    }
    let tags = ["v1", "v2", "v3"].map(str::to_owned).to_vec();
    for target in ["/v2/test/a/tags/list", "/v2/test/a/tags/list?n=2"] {
        assert_eq!(all(&site, "bob", target, "tags").0, tags);
    }
    // docker-registry of Debian has no referrers: clients know what a 404 means.
    let none = format!("/v2/test/a/referrers/{}", crate::support::blob::sha256(b""));
    assert_eq!(site.call("bob", "GET", &none, b"").status(), 404);
}
