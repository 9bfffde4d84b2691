//! Who may pull from which repository of the origin.

use std::collections::{HashMap, HashSet};

use super::Seen;

/// Rights by repository; without any, everybody may pull everything.
#[derive(Default)]
pub(super) struct Rights {
    /// Values of `Authorization` by repository; the empty one is anybody's.
    granted: HashMap<String, HashSet<String>>,
    /// What a 401 says.
    pub(super) challenge: String,
    is_strict: bool,
}

/// What the origin thinks of a request.
pub(super) enum Verdict {
    Granted,
    /// Log in first.
    Unauthorised,
    /// Logged in, and still no.
    Denied,
}

impl Rights {
    pub(super) fn grant(&mut self, repository: &str, authorization: &str) {
        self.is_strict = true;
        let who = self.granted.entry(repository.to_owned()).or_default();
        who.insert(authorization.to_owned());
    }

    pub(super) fn revoke(&mut self, repository: &str, authorization: &str) {
        self.is_strict = true;
        if let Some(who) = self.granted.get_mut(repository) {
            who.remove(authorization);
        }
    }

    /// - `repository`: `None` for the base of the API, which wants a login if anything does.
    pub(super) fn judge(&self, request: &Seen, repository: Option<&str>) -> Verdict {
        let given = request.field("authorization").unwrap_or_default();
        if !self.is_strict {
            return Verdict::Granted;
        }
        let is_known = |who: &HashSet<String>| who.contains(given) || who.contains("");
        let is_granted = match repository {
            Some(repository) => self.granted.get(repository).is_some_and(is_known),
            None => self.granted.values().any(|who| who.contains(given)),
        };
        match (is_granted, given) {
            (true, _) => Verdict::Granted,
            (false, "") => Verdict::Unauthorised,
            (false, _) => Verdict::Denied,
        }
    }
}
