//! Reads `WWW-Authenticate` of a next hop: where a token is to be had.
//!
//! Bounded, and all or nothing: of a value that is malformed anywhere no part is believed, since a
//! realm is where credentials are sent to.
//!
//! Source: RFC 9110 §11.2, §11.6.1; distribution, spec/auth/token.md.

use std::borrow::Cow;
use std::fmt;

use crate::http::grammar::{is_token_byte, is_value_byte};
use crate::limits::CHALLENGES_MAX;

/// One challenge: a scheme and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// The scheme as written; compare without case.
    pub scheme: &'a str,
    /// Names are unique without case, values unquoted.
    parameters: Vec<(&'a str, Cow<'a, str>)>,
}

impl Challenge<'_> {
    /// Says whether the scheme is `scheme`, without case.
    #[must_use]
    pub const fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Returns the value of a parameter, its quotes and escapes removed.
    ///
    /// `realm`, `service`, `scope`, `error` of a `Bearer` challenge; `realm` of `Basic`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| &**value)
    }
}

/// Why a value is no list of challenges. The next hop's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeError {
    /// Not the grammar of RFC 9110 §11.6.1.
    Malformed,
    /// A parameter twice in one challenge.
    Repeated,
    /// More than [`CHALLENGES_MAX`] challenges, or parameters of one.
    TooMany,
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "malformed WWW-Authenticate",
            Self::Repeated => "parameter repeated in WWW-Authenticate",
            Self::TooMany => "too much in WWW-Authenticate",
        })
    }
}

impl std::error::Error for ChallengeError {}

/// Returns the challenges of one field line, in order. Several lines are several calls.
///
/// O(length); allocates for the list, and for values with escapes.
///
/// # Errors
///
/// [`ChallengeError`].
pub fn parse(value: &str) -> Result<Vec<Challenge<'_>>, ChallengeError> {
    let mut cursor = Cursor { rest: value };
    let mut challenges: Vec<Challenge<'_>> = Vec::new();
    loop {
        cursor.skip(|b| matches!(b, b' ' | b'\t' | b','));
        if cursor.rest.is_empty() {
            return Ok(challenges);
        }
        let word = cursor.token()?;
        let spaced = cursor.skip(is_space);
        // A word before `=` is a parameter of the challenge so far; any other word begins the next one.
        if let Some(challenge) = challenges.last_mut()
            && cursor.rest.starts_with('=')
        {
            cursor.advance(1);
            cursor.skip(is_space);
            let value = cursor.value()?;
            add_parameter(challenge, word, value)?;
        } else {
            if challenges.len() == CHALLENGES_MAX {
                return Err(ChallengeError::TooMany);
            }
            challenges.push(Challenge {
                scheme: word,
                parameters: Vec::new(),
            });
            if spaced && !cursor.token68() {
                continue;
            }
        }
        cursor.skip(is_space);
        if !matches!(cursor.rest.as_bytes(), [] | [b',', ..]) {
            return Err(ChallengeError::Malformed);
        }
    }
}

fn add_parameter<'a>(
    challenge: &mut Challenge<'a>,
    name: &'a str,
    value: Cow<'a, str>,
) -> Result<(), ChallengeError> {
    if challenge.parameter(name).is_some() {
        return Err(ChallengeError::Repeated);
    }
    if challenge.parameters.len() == CHALLENGES_MAX {
        return Err(ChallengeError::TooMany);
    }
    challenge.parameters.push((name, value));
    Ok(())
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// What is still to be read. Only ever cut behind ASCII, so that slices stay text.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (head, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        head
    }

    /// Skips bytes of a class of ASCII; says whether there were any.
    fn skip(&mut self, class: impl Fn(u8) -> bool) -> bool {
        let count = self.rest.bytes().take_while(|&b| class(b)).count();
        !self.advance(count).is_empty()
    }

    fn token(&mut self) -> Result<&'a str, ChallengeError> {
        let count = self.rest.bytes().take_while(|&b| is_token_byte(b)).count();
        if count == 0 {
            return Err(ChallengeError::Malformed);
        }
        Ok(self.advance(count))
    }

    /// Skips a `token68` if one is next and nothing but a comma or the end behind it.
    fn token68(&mut self) -> bool {
        let text = self.rest.bytes();
        let word = |b: &u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(b);
        let words = text.clone().take_while(word).count();
        let padding = text.skip(words).take_while(|&b| b == b'=').count();
        let (_, after) = self.rest.split_at(words + padding);
        let ends = matches!(
            after.trim_start_matches([' ', '\t']).as_bytes(),
            [] | [b',', ..]
        );
        if words > 0 && ends {
            self.rest = after;
            return true;
        }
        false
    }

    /// Reads a parameter's value: a token, or a quoted string with escapes (RFC 9110 §5.6.4).
    fn value(&mut self) -> Result<Cow<'a, str>, ChallengeError> {
        if !self.rest.starts_with('"') {
            return self.token().map(Cow::Borrowed);
        }
        self.advance(1);
        let bytes = self.rest.as_bytes();
        let mut end = 0;
        let mut escaped = false;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                // An escape takes the next byte as it is, be it a quote.
                Some(b'\\') if bytes.get(end + 1).is_some_and(|&b| is_value_byte(b)) => {
                    escaped = true;
                    end += 2;
                }
                Some(b'\\') | None => return Err(ChallengeError::Malformed),
                Some(&byte) if is_value_byte(byte) => end += 1,
                Some(_) => return Err(ChallengeError::Malformed),
            }
        }
        let inside = self.advance(end);
        self.advance(1);
        Ok(if escaped {
            Cow::Owned(unescape(inside))
        } else {
            Cow::Borrowed(inside)
        })
    }
}

/// Removes each backslash that stands before another character.
fn unescape(inside: &str) -> String {
    let mut characters = inside.chars();
    let mut text = String::with_capacity(inside.len());
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            _ => text.push(character),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_challenges_of_real_registries_are_read() {
        let hub = "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",\
                   scope=\"repository:library/busybox:pull,push\",error=\"invalid_token\"";
        let challenges = parse(hub).unwrap();
        let [bearer] = &challenges[..] else {
            panic!("{challenges:?}")
        };
        assert!(bearer.is("bearer") && !bearer.is("basic"));
        for (name, value) in [
            ("realm", Some("https://auth.docker.io/token")),
            ("Service", Some("registry.docker.io")),
            ("scope", Some("repository:library/busybox:pull,push")),
            ("error", Some("invalid_token")),
            ("absent", None),
        ] {
            assert_eq!(bearer.parameter(name), value);
        }
        let several = "Negotiate, NTLM TlRM==, , bAsIc Realm = \"a \\\"b\\\\\" , charset=UTF-8,Bearer realm=x";
        let challenges = parse(several).unwrap();
        let schemes: Vec<_> = challenges
            .iter()
            .map(|challenge| challenge.scheme)
            .collect();
        assert_eq!(schemes, ["Negotiate", "NTLM", "bAsIc", "Bearer"]);
        assert_eq!(challenges[2].parameter("realm"), Some("a \"b\\"));
        assert_eq!(challenges[2].parameter("charset"), Some("UTF-8"));
        assert_eq!(challenges[3].parameter("realm"), Some("x"));
        assert_eq!(parse(" ,"), Ok(vec![]));
        // A token68 by the grammar: a challenge without a realm.
        assert_eq!(parse("Bearer realm=,").unwrap()[0].parameter("realm"), None);
    }

    #[test]
    fn of_a_malformed_value_nothing_is_believed() {
        use ChallengeError as E;
        let many = "a, ".repeat(CHALLENGES_MAX + 1);
        let numbers: Vec<_> = (0..=CHALLENGES_MAX).map(|n| format!("p{n}=x")).collect();
        let parameters = format!("Bearer {}", numbers.join(","));
        for (value, error) in [
            ("Bearer realm=\"x", E::Malformed),
            ("Bearer realm=\"x\\", E::Malformed),
            ("Bearer realm=\"x\ny\"", E::Malformed),
            ("Bearer realm=\"x\\\ny\"", E::Malformed),
            ("Bearer realm=\"x\"y", E::Malformed),
            ("Bearer realm=\"x\" service=\"y\"", E::Malformed),
            ("Bearer =x", E::Malformed),
            ("realm=x", E::Malformed),
            ("Bearer;realm=x", E::Malformed),
            ("é", E::Malformed),
            ("Bearer realm=x, Realm=y", E::Repeated),
            (&many, E::TooMany),
            (&parameters, E::TooMany),
        ] {
            assert_eq!(parse(value), Err(error), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn quoted_values_survive_their_escapes(realm in "[ -~é]{0,20}") {
            let escaped = realm.replace('\\', "\\\\").replace('"', "\\\"");
            let value = format!("Bearer realm=\"{escaped}\",service=s");
            let challenges = parse(&value).unwrap();
            prop_assert_eq!(challenges[0].parameter("realm"), Some(&*realm));
            prop_assert_eq!(challenges[0].parameter("service"), Some("s"));
        }

        #[test]
        fn no_value_makes_the_reader_panic(value in "[a=\", \\\\é\t]{0,30}|\\PC{0,30}") {
            let _ = parse(&value);
        }
    }
}
