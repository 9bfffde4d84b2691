//! Who may do what: the policy file.
//!
//! Rights add up over rules, and what no rule gives nobody has. Admins may do everything. Refuses keys that it does not
//! know, groups that are not there, rules for nobody or of nothing, and strangers who would write.
//!
//! Invariants
//! - A user whom the password file lacks has no rights, whatever rules say.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};
use serde::Deserialize;
use serde_saphyr::{Location, Spanned};

use crate::gateway::identity::Subject;
use crate::registry::Name;

/// What may be done to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::gateway) enum Action {
    /// Read it.
    Pull,
    /// Add to it.
    Push,
    /// Take from it.
    Delete,
}

impl Action {
    /// Each of them.
    pub(in crate::gateway) const ALL: [Self; 3] = [Self::Pull, Self::Push, Self::Delete];

    /// Returns the name that scopes and tokens have.
    pub(in crate::gateway) const fn name(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
            Self::Delete => "delete",
        }
    }
}

/// Who may do what. The default lets nobody do anything.
#[derive(Clone, Debug, Default)]
pub(in crate::gateway) struct Policy {
    rules: Arc<Rules>,
    users: Arc<BTreeSet<String>>,
}

impl Policy {
    /// Returns what `rules` say about these users.
    pub(super) const fn new(rules: Arc<Rules>, users: Arc<BTreeSet<String>>) -> Self {
        Self { rules, users }
    }

    /// Says whether `subject` may do `action` to `repository`.
    pub(in crate::gateway) fn allows(
        &self,
        subject: &Subject,
        repository: Name<'_>,
        action: Action,
    ) -> bool {
        let user = match subject {
            Subject::Nobody => None,
            Subject::User(name) if self.is_admin(name) => return true,
            Subject::User(name) if self.users.contains(name) => Some(&**name),
            // What a cache may do stands in what it shows, and nowhere else.
            Subject::User(_) | Subject::Cache(_) => return false,
        };
        let mut rules = self.rules.rules.iter();
        rules
            .any(|rule| rule.gives(user, action) && rule.repositories.is_match(repository.as_str()))
    }

    /// Says whether `user` is an admin.
    pub(in crate::gateway) fn is_admin(&self, user: &str) -> bool {
        self.rules.admins.contains(user) && self.users.contains(user)
    }

    /// Says whether there is anything that everybody may pull.
    pub(in crate::gateway) fn has_public(&self) -> bool {
        let mut rules = self.rules.rules.iter();
        rules.any(|rule| rule.gives(None, Action::Pull))
    }
}

/// What stands in a policy file, groups resolved.
#[derive(Debug, Default)]
pub(super) struct Rules {
    admins: HashSet<String>,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    repositories: GlobMatcher,
    who: Who,
    actions: Vec<Action>,
}

/// Whom a rule is for.
#[derive(Debug)]
enum Who {
    /// All, logged in or not.
    All,
    /// Each who is logged in.
    Users,
    /// These.
    Named(HashSet<String>),
}

impl Rule {
    /// Says whether the rule lets `user`, or nobody in particular, do `action`.
    fn gives(&self, user: Option<&str>, action: Action) -> bool {
        let is_for = match &self.who {
            Who::All => true,
            Who::Users => user.is_some(),
            Who::Named(names) => user.is_some_and(|user| names.contains(user)),
        };
        is_for && self.actions.contains(&action)
    }
}

/// The file, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    admins: Vec<String>,
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    rules: Vec<Spanned<Written>>,
}

/// A rule, as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    repository: Spanned<String>,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    groups: Vec<Spanned<String>>,
    #[serde(default)]
    everyone: bool,
    #[serde(default)]
    anonymous: bool,
    allow: Vec<Action>,
}

impl Rules {
    /// Reads a policy file. An empty one lets nobody do anything.
    ///
    /// # Errors
    /// What is wrong with it, with the line.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let has_content = |line: &str| !matches!(line.trim().chars().next(), None | Some('#'));
        if !text.lines().any(has_content) {
            return Ok(Self::default());
        }
        let options = serde_saphyr::options! {
            budget: serde_saphyr::budget! {
                max_events: 200_000,
                max_nodes: 100_000,
                max_documents: 2,
                max_depth: 16,
            },
            with_snippet: false,
        };
        let document: Document = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| one_line(&error.without_snippet().to_string()))?;
        let rules = document.rules.iter();
        let rules = rules.map(|rule| Rule::of(rule, &document.groups));
        Ok(Self {
            rules: rules.collect::<Result<_, _>>()?,
            admins: document.admins.into_iter().collect(),
        })
    }

    /// Returns who is named here and is none of `users`, sorted.
    pub(super) fn strangers(&self, users: &BTreeSet<String>) -> BTreeSet<String> {
        let named = self.rules.iter().filter_map(|rule| match &rule.who {
            Who::Named(names) => Some(names),
            Who::All | Who::Users => None,
        });
        let named = named.flatten().chain(&self.admins);
        named
            .filter(|&name| !users.contains(name))
            .cloned()
            .collect()
    }
}

impl Rule {
    fn of(
        written: &Spanned<Written>,
        groups: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, String> {
        let (place, rule) = (&written.referenced, &written.value);
        let pattern = &rule.repository;
        let glob = GlobBuilder::new(&pattern.value)
            .literal_separator(true)
            .build()
            .map_err(|error| at(&pattern.referenced, &error.to_string()))?;
        let mut names: HashSet<String> = rule.users.iter().cloned().collect();
        for group in &rule.groups {
            let members = groups.get(&group.value);
            let unknown = || at(&group.referenced, &format!("no group {:?}", group.value));
            names.extend(members.ok_or_else(unknown)?.iter().cloned());
        }
        let is_named = !rule.users.is_empty() || !rule.groups.is_empty();
        let who = match (rule.anonymous, rule.everyone, is_named) {
            (true, _, _) => Who::All,
            (false, true, _) => Who::Users,
            (false, false, true) => Who::Named(names),
            (false, false, false) => {
                let want = "a rule for nobody: want users, groups, everyone or anonymous";
                return Err(at(place, want));
            }
        };
        if rule.allow.is_empty() {
            return Err(at(
                place,
                "a rule of nothing: want pull, push or delete in allow",
            ));
        }
        if rule.anonymous && rule.allow.iter().any(|&action| action != Action::Pull) {
            return Err(at(place, "anonymous may pull and nothing else"));
        }
        Ok(Self {
            repositories: glob.compile_matcher(),
            who,
            actions: rule.allow.clone(),
        })
    }
}

fn at(place: &Location, what: &str) -> String {
    format!("line {}: {}", place.line(), one_line(what))
}

/// Returns what may repeat a text of the file as one line without control characters.
fn one_line(told: &str) -> String {
    let line = told.lines().next().unwrap_or_default().chars();
    line.map(|c| if c.is_control() { ' ' } else { c })
        .take(300)
        .collect()
}
