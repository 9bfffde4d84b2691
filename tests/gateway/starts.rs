//! It starts, and says what is missing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::process::{Process, output, run};
use crate::support::transship::BINARY;
use crate::support::{DockerRegistry, Tls, gateway::Gateway};

#[test]
fn it_starts_before_a_registry_and_ends_when_it_is_told() {
    let registry = DockerRegistry::start();
    let gateway = Gateway::before(registry.url()).start();
    assert_eq!(gateway.get("/healthz", None).status(), 200);
}

#[test]
fn without_a_backend_it_says_what_is_missing() {
    let failed = Gateway::before("").try_start().err().unwrap();
    assert!(failed.contains("gateway.backend"), "{failed}");
}

#[test]
fn a_check_tells_what_it_would_start_with_and_no_secret() {
    let check = |backend: &str| {
        let mut command = Command::new(BINARY);
        command.args(["gateway", "--check", "--backend", backend]);
        command.env("REGISTRY_GATEWAY_USERNAME", "me");
        command.env("REGISTRY_GATEWAY_PASSWORD", "s3cret");
        command
    };
    let said = run(&mut check("https://registry.example"));
    let row = |key: &str| said.lines().find(|line| line.starts_with(key)).unwrap();
    assert!(row("gateway.backend").contains("https://registry.example"));
    assert!(row("gateway.token.life").contains("5m"));
    assert!(row("gateway.password").contains("(hidden)") && !said.contains("s3cret"));
    let failed = output(&mut check("registry.example"));
    assert_eq!(failed.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&failed.stdout).contains("error: flag --backend: gateway.backend")
    );
}

#[test]
fn a_hangup_reads_the_files_again_and_ends_nothing() {
    let tls = Tls::new();
    let dir = TempDir::new().unwrap();
    let (certificate, key) = (dir.path().join("cert"), dir.path().join("key"));
    fs::write(&certificate, &tls.certificate).unwrap();
    fs::write(&key, &tls.key).unwrap();
    let gateway = Gateway::before("http://127.0.0.1:9")
        .http(format!(
            "  tls: {{certificate: {}, key: {}}}\n",
            certificate.display(),
            key.display()
        ))
        .user("alice", "wonderland")
        .policy("rules: []\n")
        .start();
    gateway.process.signal(Signal::HUP);
    let said = |part: &str| gateway.process.line(|line| line.contains(part)).unwrap();
    for part in [
        "SIGHUP",
        "htpasswd",
        "policy.yml",
        "the certificate was read again",
    ] {
        said(part);
    }
    fs::write(&certificate, "").unwrap();
    gateway.process.signal(Signal::HUP);
    said("the new certificate does not hold");
    fs::write(&certificate, &tls.certificate).unwrap();
    gateway.process.signal(Signal::HUP);
    said("the certificate was read again");
}

#[test]
fn nothing_that_is_answered_is_run_by_a_browser() {
    let gateway = Gateway::before("http://127.0.0.1:9").start();
    for path in [
        "/v2/",
        "/auth/token",
        "/.well-known/jwks.json",
        "/healthz",
        "/nowhere",
    ] {
        let reply = gateway.get(path, None);
        assert_eq!(
            reply.field("x-content-type-options"),
            Some("nosniff"),
            "{path}"
        );
        let policy = reply.field("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'") && policy.ends_with("sandbox"),
            "{path}"
        );
    }
}

#[test]
fn a_head_that_is_too_long_is_refused() {
    let gateway = Gateway::before("http://127.0.0.1:9").start();
    let long = "a".repeat(100 * 1024);
    let mut client = Client::connect(gateway.addr);
    client.try_send(format!("GET /healthz HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n").as_bytes());
    assert_eq!(client.head().status, 431);
    assert_eq!(gateway.get("/healthz", None).status(), 200);
}

#[test]
fn with_nothing_but_a_backend_it_makes_what_it_needs() {
    let (registry, dir) = (DockerRegistry::start(), TempDir::new().unwrap());
    let state = dir.path().join("state");
    // The port alone is another one than that of the built-in defaults: other tests run meanwhile.
    let start = || {
        let mut command = Command::new(BINARY);
        command.args(["gateway", "--listen", "127.0.0.1:0", "--backend"]);
        command.arg(registry.url());
        command.env("STATE_DIRECTORY", &state).env("NO_COLOR", "1");
        command.env_remove("NOTIFY_SOCKET");
        let process = Process::start("gateway", &mut command);
        let ready = process.line(|line| line.contains("ready") && line.contains("address="));
        let ready = ready.unwrap_or_else(|log| panic!("it is not ready:\n{log}"));
        let (_, address) = ready.split_once("address=").unwrap();
        let address = address.split_whitespace().next().unwrap().to_owned();
        (process, address)
    };
    let (mut process, address) = start();
    let mut secret = 0;
    for entry in fs::read_dir(&state).unwrap() {
        let (path, mode) = {
            let entry = entry.unwrap();
            (entry.path(), entry.metadata().unwrap().permissions().mode())
        };
        // The rest is the policy, which says nothing that nobody may know.
        if path.file_name().unwrap() != "policy.yml" {
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
            secret += 1;
        }
    }
    assert!(secret >= 3, "{secret}");
    for name in ["admin-password", "gateway.db"] {
        let mode = fs::metadata(state.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let password = fs::read_to_string(state.join("admin-password")).unwrap();
    let password = password.trim();
    let log_in = |address: &str| {
        run(Command::new("curl")
            .args(["-sSf", "-u", &format!("admin:{password}")])
            .arg(format!("http://{address}/api/v0/content_caches")))
    };
    assert_eq!(log_in(&address).trim(), "[]");
    assert!(!process.log().contains(password), "it is in the log");
    process.signal(Signal::TERM);
    assert!(process.exit().success());
    // What was made is kept.
    let keys = |process: &Process| process.log().matches("a new key").count();
    assert_eq!(keys(&process), 1);
    let (process, address) = start();
    assert_eq!(keys(&process), 0);
    log_in(&address);
}
