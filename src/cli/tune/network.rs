//! Network cards: their queues, and which processors these interrupt.

use std::fs;

use super::host::Host;
use super::{Finding, State};

/// Returns what there is to say of each card. Bridges, tunnels and the like have no device behind them.
pub(super) fn findings(host: &Host) -> Vec<Finding> {
    let folder = "sys/class/net";
    let cards = host.names(folder).into_iter();
    cards
        .filter(|card| host.root.join(folder).join(card).join("device").exists())
        .flat_map(|card| [Some(queues(host, &card)), interrupts(host, &card)])
        .flatten()
        .collect()
}

fn queues(host: &Host, card: &str) -> Finding {
    let folder = format!("sys/class/net/{card}/queues");
    let names = host.names(&folder);
    let receiving: Vec<&String> = names
        .iter()
        .filter(|name| name.starts_with("rx-"))
        .collect();
    let spread = receiving.iter().any(|queue| {
        let mask = host.read(&format!("{folder}/{queue}/rps_cpus"));
        mask.is_some_and(|mask| mask.chars().any(|c| !matches!(c, '0' | ',')))
    });
    let state = match (receiving.len(), host.processors) {
        (0, _) => State::Unknown,
        (_, 1) => State::Well,
        (1, _) if !spread => State::Lacking,
        _ => State::Well,
    };
    Finding {
        name: format!("receive queues of {card}"),
        here: format!(
            "{}{}",
            receiving.len(),
            if spread { ", spread by RPS" } else { "" }
        ),
        wanted: format!("up to {}, or RPS (tuning/nic-queues.sh)", host.processors),
        state,
        reason: "with one queue a single processor handles all that comes in, acknowledgements of what is sent too, \
                 while the core that runs there serves less",
        source: "kernel: networking/scaling",
        command: None,
    }
}

fn interrupts(host: &Host, card: &str) -> Option<Finding> {
    let device = fs::read_link(host.root.join(format!("sys/class/net/{card}/device"))).ok();
    let device = device.and_then(|path| path.file_name()?.to_str().map(str::to_owned));
    let text = host.read("proc/interrupts")?;
    let is_queue = |name: &str| {
        let of = |owner: &str| {
            name.strip_prefix(owner)
                .is_some_and(|rest| rest.starts_with('-'))
        };
        of(card) || (device.as_deref().is_some_and(of) && !name.ends_with("-config"))
    };
    let numbers: Vec<&str> = text
        .lines()
        .filter(|line| line.split_whitespace().next_back().is_some_and(is_queue))
        .filter_map(|line| line.trim_start().split(':').next())
        .collect();
    if numbers.len() < 2 {
        return None;
    }
    let mut places: Vec<String> = numbers
        .iter()
        .filter_map(|number| host.read(&format!("proc/irq/{number}/effective_affinity_list")))
        .collect();
    places.sort();
    places.dedup();
    let state = match (places.len(), host.processors) {
        (0, _) => State::Unknown,
        (1, 2..) => State::Lacking,
        _ => State::Well,
    };
    Some(Finding {
        name: format!("interrupts of {card}"),
        here: format!("{} on processors {}", numbers.len(), places.join(" ")),
        wanted: "on different processors (irqbalance, or tuning/nic-queues.sh)".to_owned(),
        state,
        reason: "queues that interrupt one processor are one queue",
        source: "kernel: networking/scaling",
        command: None,
    })
}
