//! The line `herd`: many clients of one cold blob.

use super::*;

/// Origin bytes per blob byte and the slowest first byte, ours and two peers'.
pub(super) fn herd(scale: &Scale) {
    println!(
        "\nherd: {} clients of one cold blob of {}, {} runs",
        scale.herd_clients,
        size(scale.herd_bytes),
        scale.runs
    );
    let www = Www::new();
    let origin = Nginx::origin(&www);
    let path = www.add(&Blob::seeded(1, scale.herd_bytes));
    let mut herds = ["transship", "nginx", "docker-registry"].map(Herd::of);
    for _ in 0..scale.runs {
        for herd in &mut herds {
            let peer = Peer::start(herd.name, &origin.url());
            let sent = origin.sent();
            let (first, all) = stampede(peer.addr(), &path, scale);
            peer.settle(scale.herd_bytes, &origin, sent);
            let cost = (origin.sent() - sent) as f64 / scale.herd_bytes as f64;
            herd.costs.push(cost);
            herd.firsts.push(first);
            herd.alls.push(all);
        }
    }
    for herd in &herds {
        println!(
            "  {:16} origin bytes / blob bytes {}",
            herd.name,
            spread(&herd.costs)
        );
        println!(
            "  {:16} slowest first byte, ms    {}",
            "",
            spread(&herd.firsts)
        );
        println!(
            "  {:16} all have all, ms          {}",
            "",
            spread(&herd.alls)
        );
    }
    let [ours, ..] = &herds;
    verdict(
        "origin bytes / blob bytes is 1.00",
        ours.costs.iter().all(|&cost| is_one(cost)),
    );
    verdict(
        "first byte within 100 ms for all",
        max(&ours.firsts) <= 100.0,
    );
}

/// What the runs of one cache showed.
struct Herd {
    name: &'static str,
    costs: Vec<f64>,
    firsts: Vec<f64>,
    alls: Vec<f64>,
}

impl Herd {
    fn of(name: &'static str) -> Self {
        Self {
            name,
            costs: Vec::new(),
            firsts: Vec::new(),
            alls: Vec::new(),
        }
    }
}

fn is_one(ratio: f64) -> bool {
    (ratio - 1.0).abs() < 1e-9
}

/// Lets all clients ask at once; returns the slowest first byte and the last byte of all, in ms.
fn stampede(addr: SocketAddr, path: &str, scale: &Scale) -> (f64, f64) {
    let mut clients: Vec<Client> = (0..scale.herd_clients)
        .map(|_| Client::connect(addr))
        .collect();
    let start = Instant::now();
    let firsts: Vec<f64> = std::thread::scope(|scope| {
        let threads: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                scope.spawn(move || {
                    client.ask("GET", path, &[]);
                    let head = client.head();
                    assert_eq!(head.length(), Some(scale.herd_bytes as u64));
                    let mut first = None;
                    let whole = client.body("GET", &head, |_| {
                        first.get_or_insert_with(|| ms(start));
                    });
                    assert!(whole);
                    first.unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    (max(&firsts), ms(start))
}
