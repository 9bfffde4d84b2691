//! Who is refused, how, and what nobody learns from it.

use super::{Site, basic, before, call, call_with, code};
use crate::support::process::run;
use crate::support::{Blob, Client};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[test]
fn the_challenge_says_where_a_token_is_had_and_for_what() {
    let site = Site::start();
    for (method, path, scope) in [
        ("GET", "/v2/".to_owned(), ""),
        ("GET", "/v2".to_owned(), ""),
        (
            "GET",
            "/v2/test/a/manifests/v1".to_owned(),
            "repository:test/a:pull",
        ),
        (
            "GET",
            "/v2/test/a/tags/list".to_owned(),
            "repository:test/a:pull",
        ),
        (
            "HEAD",
            format!("/v2/test/a/blobs/{DIGEST}"),
            "repository:test/a:pull",
        ),
        (
            "PUT",
            "/v2/test/a/manifests/v1".to_owned(),
            "repository:test/a:pull,push",
        ),
        (
            "POST",
            "/v2/test/a/blobs/uploads/".to_owned(),
            "repository:test/a:pull,push",
        ),
        (
            "DELETE",
            "/v2/test/a/manifests/v1".to_owned(),
            "repository:test/a:delete",
        ),
        ("GET", "/v2/_catalog".to_owned(), "registry:catalog:*"),
    ] {
        let reply = site.call("", method, &path, b"");
        assert_eq!(reply.status(), 401, "{method} {path}");
        let version = reply.field("docker-distribution-api-version");
        assert_eq!(version, Some("registry/2.0"));
        let challenge = reply.field("www-authenticate").unwrap();
        let front = "Bearer realm=\"http://transship.test/auth/token\",service=\"";
        assert!(challenge.starts_with(front), "{challenge}");
        let wanted = format!(",scope=\"{scope}\"");
        assert_eq!(
            challenge.contains("scope="),
            !scope.is_empty(),
            "{challenge}"
        );
        assert!(
            scope.is_empty() || challenge.ends_with(&wanted),
            "{challenge}"
        );
    }
    assert_eq!(site.call("carol", "GET", "/v2/", b"").status(), 200);
}

#[test]
fn over_http_2_the_challenge_names_the_host_as_well() {
    let site = Site::start();
    let mut curl = std::process::Command::new("curl");
    curl.args([
        "-sS",
        "--http2-prior-knowledge",
        "-w",
        "%{http_version}",
        "-D-",
    ]);
    let said = run(curl.arg(format!("{}/v2/", site.gateway.url())));
    let realm = format!("realm=\"{}/auth/token\"", site.gateway.url());
    assert!(
        said.starts_with("HTTP/2 401") && said.contains(&realm),
        "{said}"
    );
}

/// Returns a token for what is asked for, as far as `user` may have it.
pub(super) fn token(site: &Site, user: &str, scope: &str) -> String {
    let login = basic(user);
    let login = (!user.is_empty()).then_some(&*login);
    let reply = site
        .gateway
        .get(&format!("/auth/token?scope={scope}"), login);
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    format!("Bearer {}", body["token"].as_str().unwrap())
}

#[test]
fn a_token_that_lacks_the_right_is_to_be_had_anew_and_one_that_is_none_as_well() {
    let site = Site::start();
    site.push("alice", "test/a", "v1");
    let get = |token: &str| site.gateway.get("/v2/test/a/tags/list", Some(token));
    assert_eq!(
        get(&token(&site, "bob", "repository:test/a:pull")).status(),
        200
    );
    for (shown, error) in [
        (
            token(&site, "bob", "repository:test/b:pull"),
            "insufficient_scope",
        ),
        (
            token(&site, "carol", "repository:test/a:pull"),
            "insufficient_scope",
        ),
        (
            token(&site, "", "repository:test/a:pull"),
            "insufficient_scope",
        ),
        ("Bearer x.y.z".to_owned(), "invalid_token"),
        ("Negotiate abc".to_owned(), "invalid_token"),
    ] {
        let reply = get(&shown);
        let challenge = reply.field("www-authenticate").unwrap().to_owned();
        assert_eq!((reply.status(), &*code(&reply)), (401, "UNAUTHORIZED"));
        assert!(
            challenge.ends_with(&format!("error=\"{error}\"")),
            "{challenge}"
        );
    }
    assert_eq!(
        site.gateway.get("/v2/", Some("Basic Ym9iOng=")).status(),
        401
    );
    let known = token(&site, "", "repository:test/a:pull");
    assert_eq!(site.gateway.get("/v2/", Some(&known)).status(), 200);
}

#[test]
fn what_is_not_there_and_what_may_not_be_seen_look_the_same() {
    let site = Site::start();
    site.push("dan", "other/secret", "v1");
    for user in ["", "bob", "carol"] {
        let told = |repository: &str, rest: &str| {
            let path = format!("/v2/{repository}/{rest}");
            let reply = site.call(user, "GET", &path, b"");
            let challenge = reply.field("www-authenticate").unwrap_or_default();
            let challenge = challenge.replace(repository, "NAME");
            (reply.status(), challenge, reply.body)
        };
        for rest in [
            "manifests/v1",
            "manifests/none",
            "tags/list",
            &format!("blobs/{DIGEST}"),
        ] {
            let (there, missing) = (told("other/secret", rest), told("other/nothing", rest));
            assert_eq!(there, missing, "{user} {rest}");
            assert_eq!(there.0, if user.is_empty() { 401 } else { 403 });
        }
    }
}

#[test]
fn a_signed_url_that_is_none_is_denied_whoever_shows_it() {
    let site = Site::start();
    let blob = Blob::seeded(8, 100);
    site.upload("alice", "test/a", &blob);
    let path = format!("/v2/test/a/blobs/{}", blob.digest);
    for user in ["", "bob"] {
        let reply = site.call(user, "GET", &format!("{path}?token=x.y.z"), b"");
        assert_eq!((reply.status(), &*code(&reply)), (403, "DENIED"));
        let twice = site.call(user, "GET", &format!("{path}?token=a&token=b"), b"");
        assert_eq!(twice.status(), 400);
    }
    let registry_token = token(&site, "bob", "repository:test/a:pull");
    let shown = registry_token.strip_prefix("Bearer ").unwrap();
    let reply = site.call("", "GET", &format!("{path}?token={shown}"), b"");
    assert_eq!(
        reply.status(),
        403,
        "a token for the repository is no signed URL"
    );
}

#[test]
fn hostile_paths_never_reach_the_backend() {
    // Nobody listens there: whatever came as far would be answered with 502.
    let gateway = before("http://127.0.0.1:9").start();
    for (path, status) in [
        ("/v2/test/../other/secret/manifests/v1", 400),
        ("/v2/test/a/../../other/secret/manifests/v1", 400),
        ("/v2/test/%2e%2e/other/secret/manifests/v1", 400),
        ("/v2/test%2fa/manifests/v1", 400),
        ("/v2//test/a/manifests/v1", 400),
        ("/v2/test/a/manifests/..%2f..%2f..%2fother", 400),
        ("/v2/test/a/blobs/sha256:../../x", 404),
        ("/v2/test/a/blobs/uploads/..", 404),
        ("/v2/test/a/blobs/uploads/%2e%2e", 404),
        ("/v2/test/a/blobs/uploads/x%3f_state=y", 404),
        ("/v2/TEST/a/manifests/v1", 400),
        ("/v2/test/a/manifests/.x", 404),
        ("/v2/x", 404),
        ("/v2/_catalog/", 404),
    ] {
        let reply = call(&gateway, "alice", "GET", path, b"");
        assert_eq!(reply.status(), status, "{path}: {}", reply.text());
    }
    let post = call(&gateway, "alice", "POST", "/v2/test/a/manifests/v1", b"x");
    assert_eq!(
        (post.status(), post.field("allow")),
        (405, Some("GET, HEAD, PUT, DELETE"))
    );
}

#[test]
fn ranges_and_conditions_pass() {
    let site = Site::start();
    let blob = Blob::seeded(9, 10_000);
    site.upload("alice", "test/a", &blob);
    let path = format!("/v2/test/a/blobs/{}", blob.digest);
    let part = call_with(
        &site.gateway,
        "bob",
        "GET",
        &path,
        &[("Range", "bytes=10-19")],
        b"",
    );
    assert_eq!(
        (part.status(), part.field("content-range")),
        (206, Some("bytes 10-19/10000"))
    );
    assert_eq!(part.body, blob.bytes[10..20]);
    let whole = site.call("bob", "HEAD", &path, b"");
    assert_eq!(
        (whole.status(), whole.field("content-length")),
        (200, Some("10000"))
    );
    let tag = whole.field("etag").unwrap();
    let same = call_with(
        &site.gateway,
        "bob",
        "GET",
        &path,
        &[("If-None-Match", tag)],
        b"",
    );
    assert_eq!((same.status(), same.body.len()), (304, 0));
}

#[test]
fn a_refused_push_is_told_before_its_body_is_sent() {
    let site = Site::start();
    let mut client = Client::connect(site.gateway.addr);
    let login = basic("bob");
    let fields = [
        ("Authorization", &*login),
        ("Content-Length", "1000000000"),
        ("Expect", "100-continue"),
    ];
    client.ask("PUT", "/v2/test/a/blobs/uploads/1", &fields);
    assert_eq!(client.head().status, 403);
}
