//! The line `streams`: a large blob over slow connections, by one and by several.

use super::*;

/// Time of a cold blob with one stream and with four, and of the peers, each over the same pipe.
pub(super) fn streams(scale: &Scale) {
    println!(
        "\nstreams: a cold blob of {}, each connection held to {} MB/s after {} ms, {} runs",
        size(scale.streams_bytes),
        RATE / 1_000_000,
        LAG.as_millis(),
        scale.runs
    );
    let far = Far::shaped(scale.streams_bytes);
    let mut parties = [
        Party::of("transship, one stream"),
        Party::of("transship, four streams"),
    ];
    for _ in 0..scale.runs {
        for (party, streams) in parties.iter_mut().zip([1, 4]) {
            let more = format!("    streams_max: {streams}\n");
            let cache = Transship::behind(&[far.hop.url()], &more).start();
            party.run(&far, cache.addr, cache.process.id());
            let committed = [("outcome", "committed")];
            cache.until_metric("transship_fills_total", &committed, 1);
        }
    }
    let mut peers = [Party::of("nginx"), Party::of("docker-registry")];
    for party in &mut peers {
        // They have one connection and no surprises: once is enough.
        let peer = Peer::start(party.name, &far.hop.url());
        party.run(&far, peer.addr(), peer.pid());
    }
    for party in parties.iter().chain(&peers) {
        row(party.name, "seconds", &party.seconds);
        row("", "CPU seconds", &party.cpu);
        row("", "origin bytes / blob bytes", &party.cost);
    }
    let [one, four] = &parties;
    let runs = one.seconds.iter().zip(&four.seconds);
    let ratios: Vec<f64> = runs.map(|(one, four)| one / four).collect();
    row("ratio", "", &ratios);
    verdict("four streams are 3.5 times as fast", median(&ratios) >= 3.5);
}

struct Party {
    name: &'static str,
    seconds: Vec<f64>,
    cpu: Vec<f64>,
    cost: Vec<f64>,
}

impl Party {
    fn of(name: &'static str) -> Self {
        Self {
            name,
            seconds: Vec::new(),
            cpu: Vec::new(),
            cost: Vec::new(),
        }
    }

    fn run(&mut self, far: &Far, addr: SocketAddr, pid: u32) {
        let (sent, cpu) = (far.hop.sent(&far.blob), cpu_seconds(pid));
        self.seconds
            .push(pull(addr, &far.blob, None).total_ms / 1000.0);
        self.cpu.push(cpu_seconds(pid) - cpu);
        let sent = far.hop.sent(&far.blob) - sent;
        self.cost.push(sent as f64 / far.bytes as f64);
    }
}
