//! Files, logins and rights.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::files::Files;
use super::policy::Rules;
use super::*;
use crate::gateway::identity::Subject;
use crate::registry::Name;

const POLICY: &str = "\
admins: [root, gone]
groups: {dev: [alice, bob, gone]}
rules:
  - repository: website/**
    groups: [dev]
    allow: [pull, push]
  - {repository: website/ui, users: [alice], allow: [delete]}
  - {repository: public/*, anonymous: true, allow: [pull]}
  - {repository: shared, everyone: true, allow: [pull]}
";

fn users(names: &[&str]) -> Arc<BTreeSet<String>> {
    Arc::new(names.iter().map(|&name| name.to_owned()).collect())
}

fn policy(text: &str) -> Policy {
    let rules = Arc::new(Rules::parse(text).unwrap());
    Policy::new(rules, users(&["root", "alice", "bob", "carol"]))
}

/// Returns what `who` may do: `pull push`. Nobody is an empty name.
fn rights(policy: &Policy, who: &str, repository: &str) -> String {
    let subject = match who {
        "" => Subject::Nobody,
        name => Subject::of_claim(Some(name)),
    };
    let name = Name::parse(repository).unwrap();
    let may = |action: &Action| policy.allows(&subject, name, *action);
    let actions = Action::ALL.into_iter().filter(may).map(Action::name);
    actions.collect::<Vec<_>>().join(" ")
}

#[test]
fn rights_add_up_and_what_no_rule_gives_nobody_has() {
    let policy = policy(POLICY);
    for (who, repository, expected) in [
        ("alice", "website/ui", "pull push delete"),
        ("bob", "website/ui", "pull push"),
        ("bob", "website/a/b", "pull push"),
        ("bob", "website", ""),
        ("bob", "websites/ui", ""),
        ("carol", "website/ui", ""),
        ("carol", "public/a", "pull"),
        ("", "public/a", "pull"),
        ("", "public/a/b", ""),
        ("", "public", ""),
        ("carol", "shared", "pull"),
        ("", "shared", ""),
        ("root", "any/thing", "pull push delete"),
        // No longer in the password file: neither as an admin, nor in a group, nor as one of everyone.
        ("gone", "website/ui", ""),
        ("gone", "shared", ""),
        ("cache:1", "shared", ""),
        ("cache:1", "public/a", ""),
    ] {
        assert_eq!(
            rights(&policy, who, repository),
            expected,
            "{who:?} {repository}"
        );
    }
    assert!(policy.is_admin("root") && !policy.is_admin("gone") && !policy.is_admin("alice"));
    assert!(policy.has_public());
    assert_eq!(rights(&Policy::default(), "root", "a"), "");
    let strangers = Rules::parse(POLICY).unwrap();
    let strangers = strangers.strangers(&users(&["root", "alice", "bob"]));
    assert_eq!(strangers.into_iter().collect::<Vec<_>>(), ["gone"]);
}

#[test]
fn a_policy_that_does_not_hold_is_refused_with_its_line() {
    let rule = |rest: &str| format!("rules:\n  - repository: a\n    {rest}\n");
    for (text, line, said) in [
        ("admins: [a]\nrights: []\n".to_owned(), 2, "rights"),
        (rule("everyone: true\n    alow: [pull]"), 4, "alow"),
        (rule("everyone: true\n    allow: [pul]"), 4, "pul"),
        (
            rule("groups: [dev]\n    allow: [pull]"),
            3,
            "no group \"dev\"",
        ),
        (rule("everyone: true\n    allow: []"), 2, "rule of nothing"),
        (rule("allow: [pull]"), 2, "rule for nobody"),
        (
            rule("anonymous: true\n    allow: [pull, push]"),
            2,
            "anonymous",
        ),
        (rule("anonymous: true\n    allow: [delete]"), 2, "anonymous"),
        (
            "rules:\n  - repository: '[a'\n    everyone: true\n    allow: [pull]\n".to_owned(),
            2,
            "[a",
        ),
        ("admins: [a]\nadmins: [b]\n".to_owned(), 2, "admins"),
        ("admins: a\n".to_owned(), 1, ""),
        ("- a\n".to_owned(), 1, ""),
    ] {
        let error = Rules::parse(&text).unwrap_err();
        assert!(error.contains(&format!("line {line}")), "{error}\n{text}");
        assert!(error.contains(said), "{error}\n{text}");
        assert!(!error.contains('\n'));
    }
    for nothing in ["", "\n# nobody\n", "rules: []\n"] {
        assert_eq!(rights(&policy(nothing), "alice", "a"), "", "{nothing:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "[-a-z:\\[\\]{},#*&! '\"\n]{0,80}") {
        let _ = Rules::parse(&text);
        let _ = Rules::parse(&format!("{POLICY}{text}"));
    }

    #[test]
    fn another_rule_takes_nothing_away(who in "alice|bob|carol|gone|root|", name in "(website|public)/[ab]{1,2}",
        glob in "\\*\\*|website/\\*|public/a", for_whom in "everyone: true|anonymous: true|users: \\[carol\\]") {
        let more = format!("{POLICY}  - {{repository: '{glob}', {for_whom}, allow: [pull]}}\n");
        let (before, after) = (policy(POLICY), policy(&more));
        let after = rights(&after, &who, &name);
        for action in rights(&before, &who, &name).split_whitespace() {
            prop_assert!(after.contains(action));
        }
    }
}

/// A password file and a policy file.
struct Pair {
    dir: TempDir,
    options: options::Accounts,
}

impl Pair {
    fn new(passwords: &str, policy: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let pair = Self {
            options: options::Accounts {
                htpasswd: Some(dir.path().join("htpasswd")),
                policy: Some(dir.path().join("policy.yml")),
            },
            dir,
        };
        pair.write("htpasswd", passwords);
        pair.write("policy.yml", policy);
        pair
    }

    fn write(&self, name: &str, text: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.dir.path().join(name)).unwrap();
    }

    fn files(&self) -> Arc<Files> {
        Files::open(&self.options, self.dir.path()).unwrap()
    }
}

fn line(user: &str, password: &str) -> String {
    format!("{user}:{}\n", bcrypt::hash(password, 4).unwrap())
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn files_are_read_again_and_what_is_broken_changes_nothing() {
    let pair = Pair::new(&line("alice", "a"), "admins: [alice, bob]\n");
    let files = pair.files();
    let is_admin = |name: &str| files.current().policy.is_admin(name);
    assert!(is_admin("alice") && !is_admin("bob"));
    pair.write(
        "htpasswd",
        &(line("alice", "a") + &line("bob", "b") + &line("cache", "c")),
    );
    files.look();
    assert!(is_admin("bob"));
    assert_eq!(files.current().users, users(&["alice", "bob"]));
    let generation = files.current().generation;
    pair.write("policy.yml", "admins: [bob]\n");
    files.look();
    assert!(!is_admin("alice") && is_admin("bob"));
    assert_eq!(
        files.current().generation,
        generation,
        "the passwords are the same"
    );
    pair.write("policy.yml", "admins: [alice\n");
    pair.write("htpasswd", "alice:plain\n");
    files.look();
    assert!(!is_admin("alice") && is_admin("bob"));
    fs::remove_file(pair.dir.path().join("htpasswd")).unwrap();
    files.look();
    assert!(is_admin("bob"));
    pair.write("htpasswd", &line("alice", "a"));
    files.look();
    assert!(!is_admin("bob") && files.current().generation > generation);
}

#[test]
fn what_does_not_hold_at_the_start_is_refused_with_its_path() {
    for (passwords, policy, said) in [
        ("alice:plain\n".to_owned(), "", "htpasswd: line 1"),
        (line("alice", "a"), "admin: []\n", "policy.yml: "),
    ] {
        let pair = Pair::new(&passwords, policy);
        let error = Files::open(&pair.options, pair.dir.path()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
    let nowhere = options::Accounts {
        htpasswd: Some(PathBuf::from("/nowhere/htpasswd")),
        policy: None,
    };
    let dir = TempDir::new().unwrap();
    assert!(Files::open(&nowhere, dir.path()).is_err());
}

#[tokio::test]
async fn the_first_account_can_log_in_and_only_its_owner_can_read_how() {
    let dir = TempDir::new().unwrap();
    let options = options::Accounts::default();
    let accounts = Accounts::open(&options, dir.path()).unwrap();
    assert_eq!(accounts.names(), ["admin"]);
    let path = dir.path().join("admin-password");
    for name in ["admin-password", "htpasswd", "policy.yml"] {
        assert_eq!(mode(&dir.path().join(name)), 0o600, "{name}");
    }
    let password = fs::read_to_string(&path).unwrap();
    assert!(password.trim().len() >= 24);
    assert_eq!(
        accounts.login("admin", &Secret::new(password.trim())).await,
        Ok(())
    );
    let wrong = accounts.login("admin", &Secret::new("admin")).await;
    assert_eq!(wrong, Err(LoginError::Wrong));
    assert!(accounts.policy().is_admin("admin"));
    let hashes = fs::read(dir.path().join("htpasswd")).unwrap();
    fs::remove_file(&path).unwrap();
    let again = Accounts::open(&options, dir.path()).unwrap();
    assert_eq!(
        again.login("admin", &Secret::new(password.trim())).await,
        Ok(())
    );
    assert_eq!(fs::read(dir.path().join("htpasswd")).unwrap(), hashes);
    assert!(!path.exists(), "it is made once");
}
