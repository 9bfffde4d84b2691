use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;

/// A picture of a host that lacks nothing.
fn picture() -> TempDir {
    let root = TempDir::new().unwrap();
    for (path, text) in [
        ("proc/sys/kernel/osrelease", "6.8.0-1-amd64\n"),
        ("proc/sys/net/core/somaxconn", "4096\n"),
        ("proc/sys/net/ipv4/tcp_max_syn_backlog", "8192\n"),
        ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
        ("proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t33554432\n"),
        ("proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
        ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
        ("proc/sys/fs/file-max", "9223372036854775807\n"),
        ("proc/sys/fs/nr_open", "1048576\n"),
        ("proc/sys/kernel/io_uring_disabled", "0\n"),
        ("proc/self/mountinfo", MOUNTS),
        (
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "powersave\n",
        ),
        (
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver",
            "intel_pstate\n",
        ),
        ("sys/class/net/lo/queues/rx-0/rps_cpus", "0\n"),
        ("sys/class/net/eth0/device/vendor", "0x1af4\n"),
        ("sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
        ("sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
        (
            "proc/interrupts",
            "  CPU0\n 30: 1 2 edge eth0-rx-0\n 31: 1 2 edge eth0-rx-1\n",
        ),
        ("proc/irq/30/effective_affinity_list", "0\n"),
        ("proc/irq/31/effective_affinity_list", "1\n"),
    ] {
        put(root.path(), path, text);
    }
    root
}

const MOUNTS: &str = "\
1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw
2 1 8:2 / /var/lib rw,noatime - xfs /dev/sdb1 rw
3 1 0:9 / /var/library rw - nfs4 far:/ rw
";

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn host(root: &TempDir) -> Host {
    Host {
        root: root.path().to_owned(),
        storage: PathBuf::from("/var/lib/transship"),
        descriptors: None,
        locked_bytes: None,
        processors: 2,
    }
}

fn lacking(host: &Host) -> Vec<String> {
    let all = findings(host).into_iter();
    all.filter(|found| found.state == State::Lacking)
        .map(|found| found.name)
        .collect()
}

#[test]
fn a_host_that_lacks_nothing_is_told_so() {
    let root = picture();
    let host = host(&root);
    assert_eq!(lacking(&host), [""; 0]);
    assert!(
        findings(&host)
            .iter()
            .all(|found| found.state != State::Unknown)
    );
    let all = findings(&host);
    let of = |name: &str| all.iter().find(|found| found.name == name).unwrap();
    assert_eq!(of("file system of the storage").here, "xfs at /var/lib");
    assert_eq!(of("access times of the storage").here, "noatime");
    assert!(
        !all.iter().any(|found| found.name.contains(" lo")),
        "no card"
    );
}

#[test]
fn each_setting_that_is_not_as_it_should_be_is_named() {
    for (path, text, name) in [
        ("proc/sys/net/core/somaxconn", "128", "net.core.somaxconn"),
        (
            "proc/sys/net/ipv4/ip_local_port_range",
            "60000 60999",
            "net.ipv4.ip_local_port_range",
        ),
        (
            "proc/sys/net/ipv4/tcp_rmem",
            "33554432 33554432 6291456",
            "net.ipv4.tcp_rmem",
        ),
        (
            "proc/sys/kernel/io_uring_disabled",
            "1",
            "kernel.io_uring_disabled",
        ),
        ("proc/sys/kernel/osrelease", "5.15.0", "kernel"),
        (
            "proc/self/mountinfo",
            "1 0 8:1 / / rw - ext4 /dev/sda1 rw",
            "access times of the storage",
        ),
        (
            "proc/self/mountinfo",
            "1 0 0:9 / / rw,relatime - nfs4 far:/ rw",
            "file system of the storage",
        ),
        (
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_driver",
            "acpi-cpufreq",
            "frequency governor",
        ),
        (
            "proc/irq/31/effective_affinity_list",
            "0",
            "interrupts of eth0",
        ),
    ] {
        let root = picture();
        put(root.path(), path, text);
        assert_eq!(lacking(&host(&root)), [name], "{path}: {text}");
    }
    let root = picture();
    fs::remove_dir_all(root.path().join("sys/class/net/eth0/queues/rx-1")).unwrap();
    assert_eq!(lacking(&host(&root)), ["receive queues of eth0"]);
    put(
        root.path(),
        "sys/class/net/eth0/queues/rx-0/rps_cpus",
        "0000,00000003\n",
    );
    assert_eq!(lacking(&host(&root)), [""; 0], "RPS stands in for queues");
    let few = Host {
        descriptors: Some(1024),
        locked_bytes: Some(64 * 1024),
        ..host(&root)
    };
    let few = lacking(&few);
    assert_eq!(
        few,
        [
            "RLIMIT_NOFILE, hard, of this shell",
            "RLIMIT_MEMLOCK, hard, of this shell"
        ]
    );
}

#[test]
fn a_host_that_hides_everything_lacks_nothing_that_can_be_known() {
    let root = TempDir::new().unwrap();
    assert_eq!(lacking(&host(&root)), [""; 0]);
    let unknown = findings(&host(&root));
    assert!(unknown.iter().any(|found| found.state == State::Unknown));
}

#[test]
fn people_and_scripts_are_told_the_same() {
    let root = picture();
    put(root.path(), "proc/sys/net/core/somaxconn", "128\n");
    let findings = findings(&host(&root));
    let (mut lines, mut json) = (Vec::new(), Vec::new());
    write_lines(&findings, &mut lines).unwrap();
    write_json(&findings, &mut json).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert!(
        lines.starts_with("lacking  net.core.somaxconn: 128 (wanted: 4096 or more)\n"),
        "{lines}"
    );
    let json: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json[0]["here"], "128");
    assert_eq!(json[0]["state"], "lacking");
    assert_eq!(json[0]["command"], "sysctl -w net.core.somaxconn='4096'");
    assert_eq!(
        lines.matches("sysctl -w").count(),
        1,
        "only of what is lacking"
    );
    assert_eq!(json.as_array().unwrap().len(), findings.len());
}

#[test]
fn the_files_that_people_copy_are_those_of_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning");
    let path = folder.join("90-transship.conf");
    if std::env::var_os("TRANSSHIP_BLESS").is_some() {
        fs::write(&path, sysctls::file()).unwrap();
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        sysctls::file(),
        "tuning/90-transship.conf is stale: run TRANSSHIP_BLESS=1 cargo test --lib cli::tune"
    );
    let advice = fs::read_to_string(folder.join("README.md")).unwrap();
    for name in sysctls::names() {
        assert!(
            advice.contains(&format!("`{name}`")),
            "{name} is not in tuning/README.md"
        );
    }
}
