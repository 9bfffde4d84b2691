//! The systemd units beside each other.

use std::fs;
use std::path::Path;

#[test]
fn the_unit_of_instances_is_the_unit_but_for_its_instance() {
    // A sandbox or a limit that is changed in one of them would be the old one for half of the installations.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let read = |name| fs::read_to_string(folder.join(name)).unwrap();
    let mut wanted = read("transship.service");
    for (one, instance) in [
        ("for container images\n", "for container images (%i)\n"),
        ("/etc/transship/config.yml", "/etc/transship/%i.yml"),
        ("Directory=transship\n", "Directory=transship-%i\n"),
        ("/var/lib/transship,", "/var/lib/transship-INSTANCE,"),
        ("SIGUSR2 transship\n", "SIGUSR2 transship@INSTANCE\n"),
    ] {
        assert!(wanted.contains(one), "{one:?} is not in the unit");
        wanted = wanted.replace(one, instance);
    }
    let found = read("transship@.service");
    let (_, found) = found.split_once("\n[Unit]").unwrap();
    assert_eq!(format!("[Unit]{found}"), wanted);
}
