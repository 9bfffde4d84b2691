//! Next hops and how long their blobs are kept, from every section that names them.

use std::time::Duration;

use super::*;

#[test]
fn blobttl_is_read_with_every_unit_and_in_nanoseconds_without_one() {
    for (text, nanoseconds) in [
        ("24h", 86_400_000_000_000),
        ("'5m'", 300_000_000_000),
        ("7s", 7_000_000_000),
        ("8ms", 8_000_000),
        ("9us", 9_000),
        ("10ns", 10),
        ("86400", 86_400),
        ("\"86400\"", 86_400),
    ] {
        let file = downstream(&format!("blobttl: {text}\nupstreams: [https://a.example]"));
        let effective = loaded(&file);
        assert_eq!(
            effective.settings.store.blob_ttl,
            Some(Duration::from_nanos(nanoseconds)),
            "{text}"
        );
        let bare = text.contains("86400");
        assert_eq!(warnings(&effective).len(), usize::from(bare), "{text}");
    }
    let file = downstream("blobttl: 86400\nupstreams: [https://a.example]");
    assert_eq!(
        warnings(&loaded(&file))[0],
        "config.yml:7:18: middleware.registry[0].options.blobttl: 86400 has no unit and is 86400 nanoseconds, \
         which is hardly meant: write 86400s for seconds"
    );
}

#[test]
fn a_compound_blobttl_is_read_with_a_note() {
    let effective = loaded(&downstream(
        "blobttl: 1h30m\nupstreams: [https://a.example]",
    ));
    assert_eq!(
        effective.settings.store.blob_ttl,
        Some(Duration::from_secs(5400))
    );
    assert!(warnings(&effective)[0].contains("as Go does"));
}

#[test]
fn blobttl_that_is_none_is_refused_with_what_is_accepted() {
    for text in ["0", "0h", "-1h", "1d", "[1h]", "1 h", "24 hours"] {
        let file = downstream(&format!("blobttl: {text}\nupstreams: [https://a.example]"));
        let said = refused(&file);
        assert!(
            said.starts_with("config.yml:7:18: middleware.registry[0].options.blobttl: ")
                && said.contains("want a positive integer and a unit of ns, us, ms, s, m or h"),
            "{text}: {said}"
        );
    }
}

#[test]
fn blobttl_without_leave_to_delete_is_an_error() {
    let file = downstream("blobttl: 24h\nupstreams: [https://a.example]");
    for storage in ["{}", "{delete: {enabled: false}}", "{delete: {}}"] {
        let said = refused(&file.replace("{delete: {enabled: true}}", storage));
        assert!(
            said.contains("needs storage.delete.enabled: true"),
            "{said}"
        );
    }
    let said = refused(&file.replace("enabled: true", "enabled: maybe"));
    assert!(said.contains("\"maybe\" is not accepted: want true or false"));
}

#[test]
fn upstreams_are_read_in_both_forms_and_mixed() {
    let effective = loaded(&downstream(
        "upstreams:\n  - https://a.example:8443\n  - originhost: https://dtr.example\n    upstreamhosts: [http://b.example:5000, https://c.example]\n  - originhost: https://d.example",
    ));
    let hops = &effective.settings.upstream.hops;
    let urls: Vec<_> = hops
        .iter()
        .map(|hop| {
            let origin = hop.origin.as_ref().map_or("-", url::Url::as_str);
            format!("{} {origin}", hop.url)
        })
        .collect();
    assert_eq!(
        urls,
        [
            "https://a.example:8443/ -",
            "http://b.example:5000/ https://dtr.example/",
            "https://c.example/ https://dtr.example/",
            "https://d.example/ -",
        ]
    );
    assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
}

#[test]
fn an_upstream_that_is_no_registry_url_is_refused() {
    for (url, told) in [
        (
            "dtr.example:443",
            "want https:// before it (https://dtr.example:443)",
        ),
        (
            "dtr.example",
            "want https:// before it (https://dtr.example)",
        ),
        ("ftp://a.example", "want the scheme https:// or http://"),
        ("https://me:hunter2@a.example", "without user and password"),
        ("https://a.example/?x=1", "without query and fragment"),
        ("https://a.example/#x", "without query and fragment"),
        ("https://<dtr-url>", "in place of the placeholder"),
        ("https://", "want a URL such as"),
        ("https://a.example:99999", "want a URL such as"),
        ("{originhost: dtr.example:443}", "want https:// before it"),
        ("{upstreamhosts: [https://a.example]}", "has no originhost"),
        (
            "{originhost: https://a.example, upstreamhosts: b}",
            "want a list of URLs",
        ),
        ("[https://a.example]", "want a list of URLs"),
    ] {
        let said = refused(&downstream(&format!("upstreams:\n  - {url}")));
        assert!(said.contains(told), "{url}: {said}");
        assert!(said.starts_with("config.yml:8:"), "{said}");
        assert!(!said.contains("hunter2"));
    }
    for none in [
        "blobttl: 1h",
        "upstreams:",
        "upstreams: []",
        "upstreams: https://a.example",
    ] {
        let said = refused(&downstream(none));
        assert!(
            said.contains("upstreams: ") && said.contains("https://"),
            "{said}"
        );
    }
}

#[test]
fn the_proxy_section_names_an_upstream_and_its_account() {
    let effective = loaded(
        "version: 0.1\nhttp: {addr: 'localhost:80'}\nproxy: {remoteurl: https://r.example, username: u, password: 0123, ttl: 168h}\n",
    );
    let hop = &effective.settings.upstream.hops[0];
    assert_eq!(hop.url.as_str(), "https://r.example/");
    let credentials = hop.credentials.as_ref().unwrap();
    assert_eq!(
        (credentials.username.as_str(), credentials.password.as_str()),
        ("u", "0123"),
        "a password of digits keeps its leading zero"
    );
    assert_eq!(
        effective.settings.store.blob_ttl,
        Some(Duration::from_secs(168 * 3600))
    );
    assert!(
        effective
            .values
            .iter()
            .any(|v| v.key == "proxy.password" && v.value == "(hidden)")
    );
    let forever = loaded("version: 0.1\nproxy: {remoteurl: https://r.example, ttl: 0}\n");
    assert_eq!(forever.settings.store.blob_ttl, None);
    assert!(forever.warnings.is_empty());
    for half in ["username: u", "password: p"] {
        let said = refused(&format!(
            "{V}proxy: {{remoteurl: https://r.example, {half}}}\n"
        ));
        assert!(said.contains("give proxy."), "{said}");
    }
    let clear = loaded(
        "version: 0.1\nhttp: {addr: 'localhost:80'}\nproxy: {remoteurl: http://r.example, username: u, password: p}\n",
    );
    assert!(warnings(&clear)[0].contains("unencrypted"));
    let alone = loaded("version: 0.1\nproxy: {ttl: 1h}\n");
    assert!(warnings(&alone)[0].contains("without proxy.remoteurl"));
}

#[test]
fn two_sections_that_name_upstreams_are_an_error_with_both_lines() {
    let file =
        downstream("upstreams: [https://a.example]") + "proxy: {remoteurl: https://b.example}\n";
    let said = refused(&file);
    assert!(said.contains("config.yml:7:20"), "{said}");
    assert!(said.contains("proxy.remoteurl (config.yml:8:20)"), "{said}");
    let twice = "version: 0.1\nmiddleware: {registry: [{name: downstream, options: {upstreams: [https://a.example]}}, {name: downstream}]}\n";
    assert!(refused(twice).contains("another downstream entry at config.yml:2:"));
    let ttls =
        downstream("blobttl: 1h\ncas: []") + "proxy: {remoteurl: https://b.example, ttl: 1h}\n";
    assert!(refused(&ttls).contains("a lifetime is given here and by proxy.ttl"));
}

#[test]
fn the_proxy_section_may_go_with_the_middlewares_authorities() {
    let file = downstream("cas: [/certs/ca.pem]") + "proxy: {remoteurl: https://b.example}\n";
    let effective = loaded(&file);
    assert_eq!(effective.settings.upstream.hops.len(), 1);
    assert_eq!(
        effective.settings.upstream.cas,
        [PathBuf::from("/certs/ca.pem")]
    );
}

#[test]
fn a_cache_that_would_ask_itself_is_refused() {
    for (addr, url) in [
        (":5000", "http://localhost:5000"),
        (":5000", "http://127.0.0.1:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        (":443", "https://[::1]"),
    ] {
        let said = refused(&format!(
            "{V}http: {{addr: '{addr}'}}\nproxy: {{remoteurl: '{url}'}}\n"
        ));
        assert!(said.contains("it would ask itself"), "{said}");
    }
    loaded("version: 0.1\nproxy: {remoteurl: 'http://localhost:5002'}\n");
    let said = refused("version: 0.1\nhttp: {addr: ':5001'}\n");
    assert!(
        said.contains("http.debug.addr: 127.0.0.1:5001 is taken by http.addr"),
        "{said}"
    );
}

#[test]
fn an_upstream_named_twice_is_asked_once() {
    let effective = loaded(&downstream(
        "upstreams: [https://a.example, https://a.example/]",
    ));
    assert_eq!(effective.settings.upstream.hops.len(), 1);
    assert!(warnings(&effective)[0].contains("named twice"));
}
