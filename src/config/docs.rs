//! `docs/configuration.md`, written from the table of keys.

use std::fmt::Write as _;

use super::keys::{Applies, Key, Kind, TABLE, Treatment, find};

const HEAD: &str = "# Configuration

<!-- Written from the table in src/config/keys.rs; a test tells when it is stale and how to renew it. -->

transship reads the Docker registry's configuration file (`version: 0.1`), with the `downstream` registry
middleware that makes a registry a content cache. What the registry has no key for stands under `transship:`.

- Any key can be set by the environment: `REGISTRY_HTTP_ADDR=:443` is `http.addr`. Values are YAML, lists are
  replaced whole or reached by number (`REGISTRY_HTTP_TLS_CLIENTCAS_0`). The environment overrides the file,
  command-line flags override both.
- `REGISTRY_CONFIGURATION_PATH` names the file where the command line names none. Without a file the defaults
  below hold.
- Durations are written as Go does: `30s`, `10m`, `24h`, `1h30m`. In the registry's keys a number without a
  unit is nanoseconds, which earns a warning; under `transship:` it is an error.
- Unknown keys are ignored with a warning, as the registry ignores them; under `transship:` they are errors.
- `transship check CONFIG` prints every effective value with where it comes from, and what is wrong or odd.

- SIGHUP, `transship reload` and `POST /v1/reload` read file, environment and flags again. If anything is wrong,
  nothing changes and every problem is logged; else what says `at once` below counts from then on, and what says
  `restart` is named in the log and waits for the next start. Certificates, password files and key sets are read
  again whenever they change.

A small example:

```yaml
version: 0.1
storage:
  delete:
    enabled: true
  filesystem:
    rootdirectory: /var/lib/registry
http:
  addr: :5000
middleware:
  registry:
    - name: downstream
      options:
        blobttl: 24h
        upstreams:
          - https://registry.example.org
        cas:
          - /certs/registry-ca.pem
```

";

/// Returns the text of `docs/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## Keys that mean something\n\n");
    text.push_str("| Key | Type | Default | Reload | Meaning |\n|---|---|---|---|---|\n");
    for key in TABLE {
        if matches!(key.treatment, Treatment::Ignored(_) | Treatment::Refused(_)) {
            continue;
        }
        let default = match key.default {
            "" => String::new(),
            default => format!("`{default}`"),
        };
        let _ = writeln!(
            text,
            "| `{}` | {} | {default} | {} | {} |",
            shown(key),
            kind(key.kind),
            reload(key),
            meaning(key)
        );
    }
    text.push_str("\n## Keys that are ignored, with a warning\n\n");
    text.push_str("Whatever stands below them is ignored too.\n\n| Key | Why |\n|---|---|\n");
    for key in TABLE {
        if let Treatment::Ignored(reason) = key.treatment {
            let _ = writeln!(text, "| `{}` | {} |", shown(key), sentence(reason));
        }
    }
    text.push_str("\n## Keys that are refused\n\n");
    text.push_str(
        "To ignore them would change what the file means.\n\n| Key | What to do |\n|---|---|\n",
    );
    for key in TABLE {
        if let Treatment::Refused(advice) = key.treatment {
            let _ = writeln!(text, "| `{}` | {} |", shown(key), sentence(advice));
        }
    }
    text
}

/// Returns the key's path with `[]` after each list that it leads through.
fn shown(key: &Key) -> String {
    let mut path = String::new();
    let mut shown = String::new();
    for name in key.path.split('.') {
        let through_list = find(&path).is_some_and(|key| key.kind.is_list());
        if through_list {
            shown.push_str("[]");
        }
        if !path.is_empty() {
            path.push('.');
            shown.push('.');
        }
        path.push_str(name);
        shown.push_str(name);
    }
    shown
}

/// Returns what a reload does with a change of it.
const fn reload(key: &Key) -> &'static str {
    match (key.kind, key.applies) {
        (Kind::Section | Kind::Entries, _) => "",
        (_, Applies::AtOnce) => "at once",
        (_, Applies::Restart) => "restart",
    }
}

fn meaning(key: &Key) -> String {
    match key.treatment {
        Treatment::Only(values, advice) => format!(
            "{} Only `{}`, anything else is refused: {advice}.",
            key.doc, values[0]
        ),
        Treatment::Without(values, reason) => format!(
            "{} Anything but `{}` is ignored with a warning: {reason}.",
            key.doc, values[0]
        ),
        Treatment::Renamed(_) => format!("{} Accepted with a warning.", key.doc),
        Treatment::Used | Treatment::Ignored(_) | Treatment::Refused(_) => key.doc.to_owned(),
    }
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Section => "section".to_owned(),
        Kind::Entries | Kind::Sections => "list of maps".to_owned(),
        Kind::Map => "map".to_owned(),
        Kind::Headers => "map of lists".to_owned(),
        Kind::SecretHeaders => "map of lists, values never printed".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Secret => "text, never printed".to_owned(),
        Kind::Bool => "boolean".to_owned(),
        Kind::Integer(min, max) => format!("integer, {min} to {max}"),
        Kind::Duration { zero: true } => "duration or 0".to_owned(),
        Kind::Duration { zero: false } => "duration".to_owned(),
        Kind::Bytes => "bytes, such as `10GiB`".to_owned(),
        Kind::Amount => "bytes or per cent".to_owned(),
        Kind::Percent => "per cent".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Paths => "list of paths".to_owned(),
        Kind::Listen => "address".to_owned(),
        Kind::Url => "URL".to_owned(),
        Kind::Urls => "list of URLs".to_owned(),
        Kind::Upstreams => "list of URLs or maps".to_owned(),
        Kind::Hosts => "list of hosts".to_owned(),
        Kind::Networks => "list of networks".to_owned(),
        Kind::Texts => "list of texts".to_owned(),
        Kind::CipherSuites => "list of cipher suites".to_owned(),
        Kind::Choices(words) => format!("list of {}", listed(words)),
        Kind::Choice(words) => listed(words),
        Kind::Any => "anything".to_owned(),
    }
}

fn listed(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

/// Returns `text` with a capital and a full stop.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_ascii_uppercase());
    let mut sentence: String = first.into_iter().chain(characters).collect();
    sentence.push('.');
    sentence
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        if std::env::var_os("TRANSSHIP_BLESS").is_some() {
            std::fs::create_dir_all(concat!(env!("CARGO_MANIFEST_DIR"), "/docs")).unwrap();
            std::fs::write(path, markdown()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == markdown(),
            "docs/configuration.md is stale: run TRANSSHIP_BLESS=1 cargo test --lib config::docs"
        );
    }
}
