//! What configurations mean, and what is said about those that do not hold.

mod access;
mod gateway;
mod overrides;
mod refusals;
mod upstreams;
mod values;

use proptest::prelude::*;

use super::*;

fn sources(text: &str) -> Sources {
    Sources {
        file: Some((PathBuf::from("config.yml"), text.to_owned())),
        ..Sources::default()
    }
}

fn with_env(text: &str, env: &[(&str, &str)]) -> Sources {
    Sources {
        env: env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..sources(text)
    }
}

#[track_caller]
fn loaded(text: &str) -> Effective {
    load(&sources(text)).unwrap_or_else(|failure| panic!("{failure}"))
}

/// Returns the problems of a file that must not hold, one a line.
#[track_caller]
fn refused(text: &str) -> String {
    load(&sources(text)).unwrap_err().to_string()
}

fn warnings(effective: &Effective) -> Vec<String> {
    effective.warnings.iter().map(Remark::to_string).collect()
}

/// A file with one `downstream` entry that has these options, one a line.
fn downstream(options: &str) -> String {
    let indented: String = options
        .lines()
        .map(|line| format!("        {line}\n"))
        .collect();
    format!(
        "version: 0.1\nstorage: {{delete: {{enabled: true}}}}\nmiddleware:\n  registry:\n    - name: downstream\n      options:\n{indented}"
    )
}

const V: &str = "version: 0.1\n";

#[test]
fn hostile_files_are_read_or_refused_in_bounded_time() {
    let megabyte = 1024 * 1024;
    let unknown: String = (0..60_000).map(|i| format!("key{i}: 1\n")).collect();
    let anchors: String = (0..20_000).map(|i| format!("a{i}: &a{i} x\n")).collect();
    for text in [
        "[".repeat(megabyte),
        "{".repeat(megabyte),
        "- ".repeat(megabyte / 2),
        "? ".repeat(megabyte / 2),
        "a: ".repeat(megabyte / 3),
        "a".repeat(megabyte),
        format!(
            "{V}log: {{fields: {{a: \"{}\"}}}}",
            "\\n".repeat(megabyte / 3)
        ),
        format!(
            "{V}proxy: {{remoteurl: \"https://{}\"}}",
            "a.".repeat(megabyte / 3)
        ),
        format!("{V}proxy: {{ttl: {}h}}", "9".repeat(megabyte / 2)),
        format!("{V}proxy: {{ttl: {}}}", "1h".repeat(megabyte / 3)),
        format!("{V}{unknown}"),
        format!("{V}transship:\n {}", unknown.replace('\n', "\n ")),
        anchors,
        "&".repeat(megabyte),
        "\n".repeat(megabyte),
        "#\n".repeat(megabyte / 2),
        "!!".repeat(megabyte / 2),
        "'".repeat(megabyte - 1),
    ] {
        let start = std::time::Instant::now();
        let _ = load(&sources(&text));
        assert!(start.elapsed().as_secs() < 60, "{}", &text[..20]);
    }
}

#[test]
fn yaml_that_cannot_be_parsed_is_told_without_what_it_holds() {
    for text in [
        "version: 0.1\nproxy: {password: \"hunter2",
        "version: 0.1\nproxy:\n  password: 'hunter2\n  username: x\n",
        "version: 0.1\nproxy: {password: hunter2: x}\n",
        "version: 0.1\nproxy:\n  password: hunter2\n  password: hunter2\n",
        "version: 0.1\nproxy:\n  password: *hunter2\n",
        "version: 0.1\nproxy:\n  password: @hunter2\n",
        "version: 0.1\nproxy:\n  password: %hunter2\n",
        "version: 0.1\nproxy:\n  password: !!int hunter2\n",
        "version: 0.1\nproxy:\n  password: !!binary hunter2*\n",
        "version: 0.1\nproxy:\n  password: \"hunter2\\q\"\n",
        "version: 0.1\nproxy:\n password: hunter2\n\tx: y\n",
    ] {
        let said = match load(&sources(text)) {
            Ok(_) => continue,
            Err(failure) => failure.to_string(),
        };
        assert!(!said.contains("hunter2"), "{said}");
        assert!(said.starts_with("config.yml:"), "{said}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = load(&sources(&text));
    }

    #[test]
    fn nothing_that_looks_like_yaml_makes_the_reader_panic(
        text in "(version: 0\\.1\n)?([ ]{0,8}(- )?[a-z&*!<\\[{\"'#|>%@`,]{0,8}(: ?[0-9a-z:/.&*!{}\\[\\]\"',]{0,12})?\n){0,20}"
    ) {
        let _ = load(&sources(&text));
    }

    #[test]
    fn any_value_at_any_key_is_read_or_refused_and_never_panics(
        index in 0..TABLE.len(),
        value in prop_oneof![
            "[ -~]{0,20}",
            Just("[]".to_owned()), Just("{}".to_owned()), Just("[[]]".to_owned()),
            Just("~".to_owned()), Just("-1".to_owned()), Just("[{}]".to_owned()),
            Just("99999999999999999999999h".to_owned()), Just(".nan".to_owned()),
        ],
        quoted in any::<bool>(),
    ) {
        let name: String = TABLE[index].path.to_uppercase().replace('.', "_");
        let name = format!("REGISTRY_{}", name.replace("MIDDLEWARE_REGISTRY_", "MIDDLEWARE_REGISTRY_0_"));
        let value = if quoted { format!("'{}'", value.replace('\'', "''")) } else { value };
        let env = [
            ("REGISTRY_MIDDLEWARE_REGISTRY", "[{name: downstream, options: {upstreams: [https://a.example]}}]"),
            (name.as_str(), value.as_str()),
        ];
        let _ = load(&with_env(V, &env));
    }
}
