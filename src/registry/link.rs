//! Finds the next page in a listing's `Link`, so that it can be offered from here.

use crate::http::grammar::{is_authority, is_target};

/// Where a listing goes on: path and query of the next hop, checked to be safe in a head or a target.
///
/// The host is dropped: the client asks us again, and we ask the next hop that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextPage<'a> {
    /// Begins with `/`; empty when the link has a query only, or is relative to the listing itself.
    pub path: &'a str,
    /// What follows the `?`.
    pub query: Option<&'a str>,
}

impl<'a> NextPage<'a> {
    /// Returns the target of the first `rel="next"` in the value of a `Link` field (RFC 8288 §3).
    ///
    /// Takes `http(s)://host/path?query`, `/path?query` and `?query`; any other target is `None`, and
    /// the listing then ends there. O(length), no allocation.
    #[must_use]
    pub fn parse(value: &'a str) -> Option<Self> {
        let mut rest = value;
        loop {
            rest = rest
                .trim_start_matches([' ', '\t', ','])
                .strip_prefix('<')?;
            let (target, after) = rest.split_once('>')?;
            let (is_next, after) = read_parameters(after);
            if is_next {
                return Self::from_target(target);
            }
            rest = after;
        }
    }

    fn from_target(target: &'a str) -> Option<Self> {
        let scheme = target
            .strip_prefix("https://")
            .or_else(|| target.strip_prefix("http://"));
        let target = match scheme {
            Some(rest) => {
                let (authority, target) = rest.split_at(rest.find(['/', '?'])?);
                is_authority(authority).then_some(target)?
            }
            None => target,
        };
        let relative = target.starts_with('?');
        let absolute = target.starts_with('/') && !target.starts_with("//");
        if !is_target(target.as_bytes()) || !(relative || absolute) {
            return None;
        }
        Some(match target.split_once('?') {
            Some((path, query)) => Self {
                path,
                query: Some(query),
            },
            None => Self {
                path: target,
                query: None,
            },
        })
    }
}

/// Says whether the parameters of one link name the relation `next`; returns what follows its comma.
fn read_parameters(parameters: &str) -> (bool, &str) {
    let mut quoted = false;
    let end = parameters
        .find(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .unwrap_or(parameters.len());
    let (own, rest) = parameters.split_at(end);
    let mut quoted = false;
    let mut parts = own.split(|c| {
        quoted ^= c == '"';
        c == ';' && !quoted
    });
    let is_next = parts.any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .trim()
                    .trim_matches('"')
                    .split(' ')
                    .any(|relation| relation.eq_ignore_ascii_case("next"))
        })
    });
    (is_next, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_next_page_is_found() {
        let page = Some(NextPage {
            path: "/v2/a/tags/list",
            query: Some("last=b&n=2"),
        });
        for value in [
            "</v2/a/tags/list?last=b&n=2>; rel=\"next\"",
            "<https://r.example:5000/v2/a/tags/list?last=b&n=2>;REL=next",
            "</x>; rel=prev; title=\"a, b\", </v2/a/tags/list?last=b&n=2>; rel=\"last next\"",
        ] {
            assert_eq!(NextPage::parse(value), page, "{value}");
        }
        let relative = NextPage::parse("<?n=1>; rel=next").unwrap();
        assert_eq!((relative.path, relative.query), ("", Some("n=1")));
    }

    #[test]
    fn targets_that_could_lead_astray_are_dropped() {
        for value in [
            "",
            "</a>",
            "</a>; rel=prev",
            "</a; rel=next",
            "<//evil/a>; rel=next",
            "<ftp://a/b>; rel=next",
            "<https://u@a/b>; rel=next",
            "<https://a>; rel=next",
            "<a/b>; rel=next",
            "<>; rel=next",
            "</a b>; rel=next",
            "</a\r\nX: y>; rel=next",
            "</a%zz>; rel=next",
            "</a>; title=\"; rel=next",
            "</a>; title=\"; rel=next; \"",
        ] {
            assert_eq!(NextPage::parse(value), None, "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_found_is_safe_in_a_head(value in "[<>/?;,=\" a\r\n%é]{0,12}(; rel=next)?|\\PC{0,30}") {
            if let Some(page) = NextPage::parse(&value) {
                prop_assert!(is_target(page.path.as_bytes()));
                prop_assert!(is_target(page.query.unwrap_or_default().as_bytes()));
            }
        }
    }
}
