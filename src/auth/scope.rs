//! What a client asks a token for: `repository:website/ui:pull,push`.
//!
//! Refuses what the grammar does not have. A name may have colons, as that of a repository at another port, so the
//! type ends at the first one and the actions begin behind the last one.
//!
//! Source: distribution, docs/spec/auth/scope.md.

/// One thing, and what somebody wants to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// `repository` or `registry`, without a class in parentheses.
    pub kind: &'a str,
    /// What stands in parentheses behind the type: `plugin`.
    pub class: Option<&'a str>,
    /// Name of the thing, not looked at.
    pub name: &'a str,
    actions: &'a str,
}

impl<'a> Scope<'a> {
    /// Reads one scope. One pass, no allocation.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        let (name, actions) = rest.rsplit_once(':')?;
        let (kind, class) = match kind.split_once('(') {
            Some((kind, class)) => (kind, Some(class.strip_suffix(')')?)),
            None => (kind, None),
        };
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_word = |text: &str| !text.is_empty() && text.bytes().all(word);
        let is_action = |text: &str| text == "*" || is_word(text);
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
        let holds = is_word(kind)
            && class.is_none_or(is_word)
            && is_plain(name)
            && actions.split(',').all(is_action);
        holds.then_some(Self {
            kind,
            class,
            name,
            actions,
        })
    }

    /// Returns what is to be done, in the order of the text.
    pub fn actions(&self) -> impl Iterator<Item = &'a str> {
        self.actions.split(',')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn scopes_are_read_as_clients_write_them() {
        let read = |text| {
            let scope = Scope::parse(text)?;
            let actions = scope.actions().collect::<Vec<_>>().join(" ");
            Some((scope.kind, scope.class, scope.name, actions))
        };
        for (text, expected) in [
            (
                "repository:website/ui:pull,push",
                ("repository", None, "website/ui", "pull push"),
            ),
            ("repository:a:*", ("repository", None, "a", "*")),
            ("registry:catalog:*", ("registry", None, "catalog", "*")),
            (
                "repository(plugin):a/b:pull",
                ("repository", Some("plugin"), "a/b", "pull"),
            ),
            (
                "repository:host.example:5000/a:pull",
                ("repository", None, "host.example:5000/a", "pull"),
            ),
        ] {
            let (kind, class, name, actions) = expected;
            let expected = (kind, class, name, actions.to_owned());
            assert_eq!(read(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_scope_is_none() {
        for text in [
            "",
            ":",
            "::",
            "repository",
            "repository:a",
            "repository::pull",
            ":a:pull",
            "repository:a:",
            "repository:a:pull,",
            "repository:a:pull,,push",
            "repository:a:Pull",
            "repository:a:pull push",
            "repository:a b:pull",
            "repository:é:pull",
            "repository(:a:pull",
            "repository():a:pull",
            "repository(a)b:a:pull",
            "repository(a:b):a:pull",
            "Repository:a:pull",
            "repository:a\n:pull",
            "repository:a:**",
        ] {
            assert_eq!(Scope::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_can_be_written_again(text in "[a-z():,* é/.]{0,40}|repository:[a-z/:]{1,20}:[a-z*,]{1,20}") {
            if let Some(scope) = Scope::parse(&text) {
                let class = scope.class.map(|class| format!("({class})")).unwrap_or_default();
                let actions: Vec<_> = scope.actions().collect();
                let again = format!("{}{class}:{}:{}", scope.kind, scope.name, actions.join(","));
                prop_assert_eq!(again, text.clone());
            }
        }
    }
}
