//! The environment and the command line over the file.

use std::time::Duration;

use super::*;

#[test]
fn the_environment_overrides_the_file_and_flags_override_both() {
    let mut sources = with_env(
        "version: 0.1\nhttp: {addr: ':1', draintimeout: 5s}\n",
        &[
            ("REGISTRY_HTTP_ADDR", ":2"),
            ("REGISTRY_TRANSSHIP_SERVER_IDLE_TIMEOUT", "9s"),
            ("REGISTRY_LOG_FIELDS_DC", "east"),
            ("REGISTRY_HTTP_DEBUG_ADDR", "[::1]:7"),
            ("REGISTRY_CONFIGURATION_PATH", "/etc/x.yml"),
            ("REGISTRY_LOG_LEVEL", ""),
        ],
    );
    let effective = load(&sources).unwrap();
    let settings = &effective.settings;
    assert_eq!(settings.server.listen.to_string(), ":2");
    assert_eq!(settings.server.drain_timeout, Duration::from_secs(5));
    assert_eq!(settings.server.idle_timeout, Duration::from_secs(9));
    assert_eq!(settings.log.fields["dc"], "east");
    assert_eq!(settings.log.level, LogLevel::Info);
    assert_eq!(settings.admin.listen.unwrap().to_string(), "[::1]:7");
    assert!(effective.warnings.is_empty(), "{:?}", effective.warnings);
    sources.flags = Flags {
        upstreams: vec!["https://f.example".to_owned()],
        listen: Some(":3".to_owned()),
        storage: Some("/flag".to_owned()),
        admin: Some("off".to_owned()),
        cores: Some("2".to_owned()),
        ..Flags::default()
    };
    let effective = load(&sources).unwrap();
    let origins: BTreeMap<_, _> = effective
        .values
        .iter()
        .map(|value| (value.key.as_str(), value.origin.to_string()))
        .collect();
    assert_eq!(origins["http.addr"], "flag --listen");
    assert_eq!(origins["http.draintimeout"], "config.yml:2:34");
    assert_eq!(
        origins["transship.server.idle_timeout"],
        "env REGISTRY_TRANSSHIP_SERVER_IDLE_TIMEOUT"
    );
    assert_eq!(origins["upstreams[0]"], "flag --upstream");
    assert_eq!(origins["http.prefix"], "default");
    assert_eq!(effective.settings.admin.listen, None);
    assert_eq!(effective.settings.cores, Some(2));
    assert_eq!(effective.settings.store.root, PathBuf::from("/flag"));
}

#[test]
fn upstreams_of_the_command_line_replace_those_of_the_file() {
    let mut sources =
        sources("version: 0.1\nproxy: {remoteurl: https://r.example, username: u, password: p}\n");
    sources.flags.upstreams = vec!["https://a.example".into(), "http://b.example:5000".into()];
    let effective = load(&sources).unwrap();
    let hops = &effective.settings.upstream.hops;
    assert_eq!(hops.len(), 2);
    assert!(hops.iter().all(|hop| hop.credentials.is_none()));
    assert!(warnings(&effective)[0].contains("--upstream replaces"));
    sources.flags.upstreams = vec!["a.example:5000".into()];
    assert_eq!(
        load(&sources).unwrap_err().to_string(),
        "flag --upstream: upstreams[0]: \"a.example:5000\" is not accepted: want https:// before it (https://a.example:5000)"
    );
}

#[test]
fn lists_are_replaced_whole_or_by_number_from_the_environment() {
    let file = downstream("upstreams: [https://a.example]");
    for env in [
        &[(
            "REGISTRY_MIDDLEWARE_REGISTRY",
            "[{name: downstream, options: {upstreams: [https://b.example], blobttl: 1h}}]",
        )][..],
        &[
            (
                "REGISTRY_MIDDLEWARE_REGISTRY_0_OPTIONS_UPSTREAMS_0",
                "https://b.example",
            ),
            ("REGISTRY_MIDDLEWARE_REGISTRY_0_OPTIONS_BLOBTTL", "1h"),
        ],
        &[
            ("REGISTRY_MIDDLEWARE_REGISTRY_0_OPTIONS_BLOBTTL", "1h"),
            (
                "REGISTRY_MIDDLEWARE_REGISTRY_0_OPTIONS_UPSTREAMS",
                "[https://b.example]",
            ),
        ],
    ] {
        let effective = load(&with_env(&file, env)).unwrap();
        assert_eq!(effective.settings.upstream.hops.len(), 1);
        assert_eq!(
            effective.settings.upstream.hops[0].url.as_str(),
            "https://b.example/"
        );
        assert_eq!(
            effective.settings.store.blob_ttl,
            Some(Duration::from_secs(3600))
        );
    }
    let gap = [("REGISTRY_MIDDLEWARE_REGISTRY_5_NAME", "downstream")];
    let said = load(&with_env(&file, &gap)).unwrap_err().to_string();
    assert!(said.contains("index 5 leaves a gap"), "{said}");
}

#[test]
fn a_parent_in_the_environment_comes_before_its_children() {
    let env = [
        ("REGISTRY_HTTP_ADDR", "127.0.0.1:5000"),
        ("REGISTRY_PROXY_USERNAME", "u"),
        ("REGISTRY_PROXY_PASSWORD", "{not: yaml"),
        (
            "REGISTRY_PROXY",
            "{remoteurl: https://r.example, username: replaced}",
        ),
        ("REGISTRY_STORAGE", "filesystem"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/data"),
    ];
    let effective = load(&with_env(V, &env)).unwrap();
    let hop = &effective.settings.upstream.hops[0];
    let credentials = hop.credentials.as_ref().unwrap();
    assert_eq!(credentials.username, "u");
    assert_eq!(credentials.password, "{not: yaml");
    assert_eq!(effective.settings.store.root, PathBuf::from("/data"));
}

#[test]
fn variables_that_match_no_key_are_warnings_and_secrets_stay_hidden() {
    let env = [
        ("REGISTRY_PORT", "tcp://10.0.0.1:5000"),
        ("REGISTRY_SERVICE_HOST", "10.0.0.1"),
        ("REGISTRY_VERSION", "0.2"),
        ("OTHER", "x"),
        ("REGISTRY_HTTP_SECRET", "hunter2"),
    ];
    let effective = load(&with_env(V, &env)).unwrap();
    let said = warnings(&effective);
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(
        said[0],
        "env REGISTRY_PORT: matches no key of the configuration: ignored"
    );
    assert!(said.iter().all(|line| !line.contains("hunter2")));
    let env = [
        ("REGISTRY_PROXY_PASSWORD", "hunter2"),
        ("REGISTRY_HTTP_ADDR", "x"),
        ("REGISTRY_REDIS_PASSWORD", "hunter2"),
    ];
    let said = load(&with_env(V, &env)).unwrap_err();
    assert!(!format!("{said:?}").contains("hunter2"));
    assert!(
        said.to_string()
            .contains("env REGISTRY_HTTP_ADDR: http.addr: \"x\" is not accepted")
    );
}
