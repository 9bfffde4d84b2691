//! Reads the Prometheus text of the admin address.

use std::net::SocketAddr;

use super::client;

/// One reading of all samples.
pub struct Metrics {
    samples: Vec<Sample>,
    /// As it came.
    pub text: String,
}

struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    pub fn scrape(admin: SocketAddr) -> Self {
        let reply = client::get(admin, "/metrics");
        assert_eq!(reply.status(), 200, "{}", reply.text());
        Self::parse(&reply.text())
    }

    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self {
            samples: lines
                .filter(|line| !line.trim().is_empty())
                .map(sample)
                .collect(),
            text: text.to_owned(),
        }
    }

    /// The sum of the samples of this name that carry all these labels; 0 when there is none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let total: f64 = self
            .samples
            .iter()
            .filter(|sample| sample.name == name)
            .filter(|sample| {
                labels.iter().all(|(label, wanted)| {
                    sample
                        .labels
                        .iter()
                        .any(|(l, value)| l == label && value == wanted)
                })
            })
            .map(|sample| sample.value)
            .sum();
        #[expect(clippy::cast_possible_truncation, reason = "counters")]
        let total = total as u64;
        total
    }

    pub fn has(&self, name: &str) -> bool {
        self.samples.iter().any(|sample| sample.name == name)
    }
}

fn sample(line: &str) -> Sample {
    let (key, value) = line
        .rsplit_once(' ')
        .expect("a sample is a name and a value");
    let (name, labels) = key.split_once('{').unwrap_or((key, ""));
    let labels = labels
        .trim_end_matches('}')
        .split("\",")
        .filter_map(|label| label.split_once("=\""))
        .map(|(label, value)| (label.to_owned(), value.trim_end_matches('"').to_owned()))
        .collect();
    Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().expect("a number"),
    }
}
