//! Manifests of orchestrators: against their schemas, and what they configure against the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::machine::kept;
use crate::support::process::{output, run};
use crate::support::transship::BINARY;

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("packaging")
        .join(path)
}

/// Returns a program of the Python packages that hold the schemas: those of Kubernetes as its releases publish them,
/// made strict, and that of the Compose specification. Installed once, beside the machine's own Python.
fn checker(program: &str) -> PathBuf {
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    let folder = kept().join("schemas");
    INSTALLED.call_once(|| {
        if folder.join("done").exists() {
            return;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder));
        run(Command::new(folder.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(["kubernetes-validate==1.34.0", "check-jsonschema==0.33.0"]));
        fs::write(folder.join("done"), "").unwrap();
    });
    folder.join("bin").join(program)
}

fn kubernetes(manifest: &Path) -> Command {
    let mut command = Command::new(checker("kubernetes-validate"));
    command
        .args(["-k", "1.33", "--strict", "--quiet"])
        .arg(manifest);
    command
}

fn compose(stack: &Path) -> Command {
    let mut command = Command::new(checker("check-jsonschema"));
    command
        .args(["--builtin-schema", "vendor.compose-spec"])
        .arg(stack);
    command
}

/// Checks a configuration with the program; certificates that it names are made, and stand somewhere else.
fn expect_sound(config: &str, mounted: &str) {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for (certificate, key) in [
        ("cache.cert.pem", "cache.key.pem"),
        ("registry.cert.pem", "unused.pem"),
    ] {
        run(Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
            ])
            .args([
                "-subj",
                "/CN=cache.example.org",
                "-addext",
                "subjectAltName=DNS:cache.example.org",
            ])
            .arg("-out")
            .arg(path(certificate))
            .arg("-keyout")
            .arg(path(key)));
    }
    assert!(config.contains(mounted), "{config}");
    let here = config.replace(mounted, folder.path().to_str().unwrap());
    fs::write(path("config.yml"), here).unwrap();
    run(Command::new(BINARY).arg("check").arg(path("config.yml")));
}

#[test]
fn the_manifests_of_kubernetes_hold_to_its_schema_and_configure_transship() {
    // A cluster would refuse them, or leave out what it does not know: a probe, a limit.
    let path = packaging("kubernetes/transship.yaml");
    run(&mut kubernetes(&path));
    let text = fs::read_to_string(&path).unwrap();
    let folder = TempDir::new().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, text.replace("livenessProbe", "liveness")).unwrap();
    assert!(
        !output(&mut kubernetes(&wrong)).status.success(),
        "the checker checks"
    );

    let (_, after) = text.split_once("config.yaml: |\n").unwrap();
    let lines = after.lines().take_while(|line| line.starts_with("    "));
    let config: String = lines.map(|line| format!("{}\n", &line[4..])).collect();
    expect_sound(&config, "/certs");
}

#[test]
fn the_stack_of_swarm_holds_to_its_schema_and_configures_transship() {
    // `docker stack deploy` would stop half-way.
    let path = packaging("swarm/stack.yml");
    run(&mut compose(&path));
    let text = fs::read_to_string(&path).unwrap();
    let folder = TempDir::new().unwrap();
    let wrong = folder.path().join("stack.yml");
    fs::write(&wrong, text.replace("order: stop-first", "order: stop")).unwrap();
    assert!(
        !output(&mut compose(&wrong)).status.success(),
        "the checker checks"
    );

    let config = fs::read_to_string(packaging("swarm/config.yml")).unwrap();
    expect_sound(&config, "/run/secrets");
    assert!(
        text.contains("file: ./config.yml"),
        "and it is what the stack mounts"
    );
}
