//! A registry's requests, made up from what was measured of real ones.
//!
//! - Sizes of layers: log-normal with a median of 4 MB and a 90th percentile of 63 MB, between 100 bytes and
//!   20 GiB. Zhao et al., "Large-Scale Analysis of the Docker Hub Dataset", IEEE CLUSTER 2019: 1.8 million
//!   layers, half of them below 4 MB, 90 % below 63 MB compressed.
//! - Repositories are chosen by Zipf's law with exponent 1: a hundredth of them gets near half of the pulls.
//!   Anwar et al., "Improving Docker Registry Design Based on Production Workload Analysis", USENIX FAST 2018:
//!   accesses to layers, manifests and repositories are heavily skewed, and nearly all are reads.
//! - Images stand on one of a few bases, whose layers they share, and have layers of their own above.
//! - A release replaces the top one to three layers; clients move to it within a day, the first ones at once
//!   (a rollout). Old releases are still asked for now and then. Each day some repositories swap their ranks.
//! - Builds: images of one or two new layers that nobody asks for again; they make about half of all layers
//!   one-hit wonders.
//! - A client that pulls asks for the manifest, and for those layers that it does not have.
//! - A scanner, if there is one, pulls the newest release of everything at two each night.
//!
//! What is measured is cited; the rest is plausible, and for `--trace` to prove wrong.

use super::trace::Trace;

const DAY: u32 = 86_400;

/// How large the registry is.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub seed: u64,
    pub days: u32,
    pub repositories: usize,
    pub pulls_a_day: usize,
    /// Something pulls everything each night.
    pub is_scanned: bool,
}

/// Splitmix64: small, and the same on every machine.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// In [0, 1).
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        median * (sigma * normal).exp()
    }

    pub fn layer_bytes(&mut self) -> u64 {
        // ln(63 / 4) is 1.2816 sigma.
        (self.log_normal(4e6, 2.151) as u64).clamp(100, 20 << 30)
    }

    /// A manifest or a config.
    pub fn document_bytes(&mut self) -> u64 {
        (self.log_normal(3000.0, 0.6) as u64).clamp(500, 20_000)
    }
}

/// Chooses ranks by Zipf's law.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let weights = (1..=count).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self(weights.collect())
    }

    fn choose(&self, random: &mut Random) -> usize {
        let point = random.unit() * self.0[self.0.len() - 1];
        self.0.partition_point(|sum| *sum <= point)
    }

    /// The share of all that goes to a rank.
    fn share(&self, rank: usize) -> f64 {
        1.0 / (rank + 1) as f64 / self.0[self.0.len() - 1]
    }
}

/// One release of a repository.
#[derive(Clone)]
struct Release {
    since: u32,
    manifest: u32,
    config: u32,
    layers: Vec<u32>,
    /// How many of the last layers are new in it.
    fresh: usize,
}

struct Repository {
    base: usize,
    releases: Vec<Release>,
    /// Mean seconds between releases.
    interval: f64,
}

/// What happens at a second of a day.
#[derive(Clone, Copy)]
enum Event {
    Release(usize),
    Pull(usize),
    /// A pull of the newest release, whoever asks.
    Rollout(usize),
    Build,
    Scan,
}

/// Makes the requests of a registry.
pub fn registry(shape: &Shape) -> Trace {
    let mut registry = Registry::new(shape);
    for day in 0..shape.days {
        registry.day(shape, day);
    }
    registry.trace.requests.sort_by_key(|request| request.time);
    registry.trace
}

struct Registry {
    random: Random,
    trace: Trace,
    bases: Vec<Vec<u32>>,
    popular: Zipf,
    popular_bases: Zipf,
    /// The repository at each rank.
    ranks: Vec<usize>,
    repositories: Vec<Repository>,
}

impl Registry {
    fn new(shape: &Shape) -> Self {
        let name = if shape.is_scanned {
            "registry, scanned each night"
        } else {
            "registry"
        };
        let mut registry = Self {
            random: Random(shape.seed),
            trace: Trace {
                name: name.to_owned(),
                ..Trace::default()
            },
            bases: Vec::new(),
            popular: Zipf::new(shape.repositories),
            popular_bases: Zipf::new((shape.repositories / 20).max(4)),
            ranks: (0..shape.repositories).collect(),
            repositories: Vec::new(),
        };
        for _ in 0..registry.popular_bases.0.len() {
            let count = registry.random.between(1, 5);
            let base = registry.new_layers(count);
            registry.bases.push(base);
        }
        for _ in 0..shape.repositories {
            let repository = registry.new_repository();
            registry.repositories.push(repository);
        }
        registry
    }

    fn new_layers(&mut self, count: usize) -> Vec<u32> {
        let layers = (0..count).map(|_| {
            let bytes = self.random.layer_bytes();
            self.trace.thing(bytes)
        });
        layers.collect()
    }

    fn new_document(&mut self) -> u32 {
        let bytes = self.random.document_bytes();
        self.trace.thing(bytes)
    }

    fn new_repository(&mut self) -> Repository {
        let base = self.popular_bases.choose(&mut self.random);
        let count = self.random.between(2, 8);
        let first = Release {
            since: 0,
            manifest: self.new_document(),
            config: self.new_document(),
            layers: self.new_layers(count),
            fresh: 1,
        };
        let days = self.random.log_normal(7.0, 1.0).max(0.3);
        Repository {
            base,
            releases: vec![first],
            interval: days * f64::from(DAY),
        }
    }

    fn day(&mut self, shape: &Shape, day: u32) {
        for _ in 0..shape.repositories / 100 {
            let (a, b) = (
                self.random.below(self.ranks.len()),
                self.random.below(self.ranks.len()),
            );
            self.ranks.swap(a, b);
        }
        let mut events = self.plan(shape);
        events.sort_by_key(|(second, _)| *second);
        for (second, event) in events {
            let time = day * DAY + second;
            match event {
                Event::Release(repository) => self.release(repository, time),
                Event::Pull(repository) => {
                    let release = self.chosen(repository, time);
                    self.pull(repository, release, time);
                }
                Event::Rollout(repository) => {
                    let newest = self.repositories[repository].releases.len() - 1;
                    self.pull(repository, newest, time);
                }
                Event::Build => self.build(time),
                Event::Scan => self.scan(time),
            }
        }
    }

    /// Returns what happens on a day, and when.
    fn plan(&mut self, shape: &Shape) -> Vec<(u32, Event)> {
        let mut events = Vec::new();
        for rank in 0..self.ranks.len() {
            let repository = self.ranks[rank];
            let chance = f64::from(DAY) / self.repositories[repository].interval;
            if self.random.unit() < chance {
                let since = self.working_hour();
                events.push((since, Event::Release(repository)));
                let rollout = shape.pulls_a_day as f64 * self.popular.share(rank) / 2.0;
                for _ in 0..rollout.ceil() as usize {
                    let second = since + 1 + self.random.below(4 * 3600) as u32;
                    events.push((second.min(DAY - 1), Event::Rollout(repository)));
                }
            }
        }
        for _ in 0..shape.pulls_a_day {
            let repository = self.ranks[self.popular.choose(&mut self.random)];
            events.push((self.hour(), Event::Pull(repository)));
        }
        for _ in 0..shape.pulls_a_day / 12 {
            events.push((self.working_hour(), Event::Build));
        }
        if shape.is_scanned {
            events.push((2 * 3600, Event::Scan));
        }
        events
    }

    /// Two of three at work, else at any time.
    fn hour(&mut self) -> u32 {
        if self.random.unit() < 0.67 {
            self.working_hour()
        } else {
            self.random.below(DAY as usize) as u32
        }
    }

    fn working_hour(&mut self) -> u32 {
        8 * 3600 + self.random.below(10 * 3600) as u32
    }

    fn release(&mut self, repository: usize, since: u32) {
        let mut layers = self.repositories[repository]
            .releases
            .last()
            .map_or_else(Vec::new, |r| r.layers.clone());
        let fresh = self.random.between(1, 3.min(layers.len()));
        layers.truncate(layers.len() - fresh);
        layers.extend(self.new_layers(fresh));
        let release = Release {
            since,
            manifest: self.new_document(),
            config: self.new_document(),
            layers,
            fresh,
        };
        self.repositories[repository].releases.push(release);
    }

    /// The newest release, or, for a day after it, the one before; seldom any.
    fn chosen(&mut self, repository: usize, time: u32) -> usize {
        let releases = &self.repositories[repository].releases;
        let last = releases.len() - 1;
        let age = f64::from(time - releases[last].since) / f64::from(DAY);
        let stays = self.random.unit();
        if stays < 0.02 {
            self.random.below(last + 1)
        } else if stays > age {
            last.saturating_sub(1)
        } else {
            last
        }
    }

    /// One client pulls what it does not have of an image.
    fn pull(&mut self, repository: usize, chosen: usize, time: u32) {
        let Repository { base, releases, .. } = &self.repositories[repository];
        let base = *base;
        let release = releases[chosen].clone();
        self.trace.push(time, release.manifest);
        self.trace.push(time, release.config);
        // A node often has the base by way of another image, and what the last release had too.
        if self.random.unit() < 0.4 {
            self.ask(time, base);
        }
        let kept = release.layers.len() - release.fresh;
        let first = if self.random.unit() < 0.5 { 0 } else { kept };
        for layer in &release.layers[first..] {
            self.trace.push(time, *layer);
        }
    }

    fn ask(&mut self, time: u32, base: usize) {
        for layer in self.bases[base].clone() {
            self.trace.push(time, layer);
        }
    }

    /// An image of a build is pulled once, seldom twice.
    fn build(&mut self, time: u32) {
        let documents = [self.new_document(), self.new_document()];
        let count = self.random.between(1, 2);
        let layers = self.new_layers(count);
        if self.random.unit() < 0.3 {
            let base = self.popular_bases.choose(&mut self.random);
            self.ask(time, base);
        }
        let again = self.random.unit() < 0.15;
        let delay = self.random.below(3600) as u32;
        for time in std::iter::once(time).chain(again.then_some(time + delay)) {
            for thing in documents.iter().chain(&layers) {
                self.trace.push(time, *thing);
            }
        }
    }

    /// The newest release of everything, each digest once, over two hours.
    fn scan(&mut self, start: u32) {
        let mut seen = vec![false; self.trace.sizes.len()];
        for at in 0..self.repositories.len() {
            let time = start + (at * 7200 / self.repositories.len()) as u32;
            let repository = &self.repositories[at];
            let Some(release) = repository.releases.last() else {
                continue;
            };
            let documents = [release.manifest, release.config];
            let layers = self.bases[repository.base].iter().chain(&release.layers);
            for thing in documents.iter().chain(layers).copied().collect::<Vec<_>>() {
                if !std::mem::replace(&mut seen[thing as usize], true) {
                    self.trace.push(time, thing);
                }
            }
        }
    }
}
