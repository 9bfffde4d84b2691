//! `docs/metrics.md`, written from the table of metrics.

use std::fmt::Write as _;

use super::table::{Kind, Metric, TABLE, Unit};

const HEAD: &str = "# Metrics

<!-- Written from the table in src/metrics/table.rs; a test tells when it is stale and how to renew it. -->

Prometheus' text format, at `/metrics` of the admin address (`http.debug.addr`). A scrape is answered by a thread of
its own and holds up no client. Counters start at 0 with the process; use `rate()` or `increase()`.

- `docs/prometheus/transship.rules.yml` has alert rules, each with what to do.
- `docs/grafana/transship.json` is a dashboard for Grafana; import it and choose the data source.

Labels whose values are fixed are shown from the start, so that an alert can be written before the first event. Of
`transship_requests_total` only those pairs of `cache` and `status` are shown that have happened.

```yaml
scrape_configs:
  - job_name: transship
    static_configs:
      - targets: ['cache.example:5001']
```
";

/// Returns the text of `docs/metrics.md`.
#[must_use]
pub fn markdown() -> String {
    let mut text = HEAD.to_owned();
    for (area, rows) in TABLE {
        let _ = write!(
            text,
            "\n## {area}\n\n| Metric | Type | Unit | What it is | When it moves |\n|---|---|---|---|---|\n"
        );
        for row in *rows {
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} | {} |",
                shown(row),
                row.kind.word(),
                unit(row.unit),
                row.help,
                row.action
            );
        }
    }
    text
}

fn shown(row: &Metric) -> String {
    if row.labels.is_empty() {
        return row.name.to_owned();
    }
    format!("{}{{{}}}", row.name, row.labels.join(", "))
}

const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "",
        Unit::Flag => "0 or 1",
        Unit::Bytes => "bytes",
        Unit::Seconds | Unit::Milliseconds => "seconds",
        Unit::Timestamp => "seconds since 1970",
    }
}

impl Kind {
    /// Returns what Prometheus calls it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_says_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        if std::env::var_os("TRANSSHIP_BLESS").is_some() {
            std::fs::write(path, markdown()).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == markdown(),
            "docs/metrics.md is stale: run TRANSSHIP_BLESS=1 cargo test --lib metrics::docs"
        );
    }
}
