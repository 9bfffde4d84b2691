//! What somebody gets of what they ask for. Never an error: those who may do less get less.

use crate::auth::{Access, Scope};
use crate::gateway::accounts::{Action, Policy};
use crate::gateway::identity::{Caller, Rights, Subject};
use crate::registry::Name;

/// Most scopes of one request that are looked at.
const SCOPES_MAX: usize = 64;
/// Longest text of what a token gives access to, in bytes: fields of requests bound a token's length.
const ACCESS_BYTES_MAX: usize = 5 * 1024;
/// What an action is written with around it, and the rest of an access.
const ACCESS_BYTES: usize = 80;

/// Returns what `caller` gets of the scopes in `texts`, of which each may hold several.
///
/// What is no scope gives nothing, and neither does what is not here. `*` asks for all that may be done.
pub(super) fn grant<'t>(
    texts: impl IntoIterator<Item = &'t str>,
    caller: &Caller,
    policy: &Policy,
) -> Vec<Access> {
    let scopes = texts.into_iter().flat_map(|text| text.split(' '));
    let scopes = scopes.filter(|text| !text.is_empty()).take(SCOPES_MAX);
    let mut granted: Vec<Access> = Vec::new();
    let mut size_bytes = 0;
    for scope in scopes.filter_map(Scope::parse) {
        let actions = match scope.kind {
            "repository" => in_repository(&scope, caller, policy),
            "registry" => in_registry(&scope, caller, policy),
            _ => Vec::new(),
        };
        if actions.is_empty() {
            continue;
        }
        let is_same = |access: &&mut Access| access.kind == scope.kind && access.name == scope.name;
        if let Some(access) = granted.iter_mut().find(is_same) {
            let new = actions.into_iter().filter(|a| !access.actions.contains(a));
            let new: Vec<String> = new.collect();
            access.actions.extend(new);
            continue;
        }
        size_bytes += scope.name.len() + ACCESS_BYTES;
        if size_bytes > ACCESS_BYTES_MAX {
            break;
        }
        granted.push(Access {
            kind: scope.kind.to_owned(),
            name: scope.name.to_owned(),
            actions,
        });
    }
    granted
}

fn in_repository(scope: &Scope<'_>, caller: &Caller, policy: &Policy) -> Vec<String> {
    let Ok(name) = Name::parse(scope.name) else {
        return Vec::new();
    };
    let is_asked = |action: &Action| {
        scope
            .actions()
            .any(|text| text == "*" || text == action.name())
    };
    let asked = Action::ALL.into_iter().filter(is_asked);
    let given = asked.filter(|&action| caller.may(action, name, policy));
    given.map(|action| action.name().to_owned()).collect()
}

/// The catalog is for whoever could find something in it; it shows each what they may pull.
fn in_registry(scope: &Scope<'_>, caller: &Caller, policy: &Policy) -> Vec<String> {
    let is_catalog = scope.name == "catalog" && scope.actions().any(|text| text == "*");
    let may = match (&caller.rights, &caller.subject) {
        (Rights::Token(_), _) | (_, Subject::Cache(_)) => false,
        (Rights::Policy, Subject::User(_)) => true,
        (Rights::Policy, Subject::Nobody) => policy.has_public(),
    };
    if is_catalog && may {
        return vec!["*".to_owned()];
    }
    Vec::new()
}
