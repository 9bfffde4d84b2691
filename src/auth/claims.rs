//! What a token says: its registered claims, and what it gives access to.
//!
//! Refuses a claim of the wrong kind and one that comes twice; unknown claims are ignored. A date is a
//! number from 0 to the end of the year 9999, with or without a fraction.
//!
//! Source: RFC 7519 §2 (NumericDate), §4.1; distribution, spec/auth/jwt.md.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::Refusal;

/// 9999-12-31T23:59:59Z. Later is no date but an overflow to come.
const DATE_MAX: u64 = 253_402_300_799;

/// The claims of a token whose signature is good.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claims {
    /// Who made the token.
    #[serde(rename = "iss")]
    pub issuer: Option<String>,
    /// Whom it was made for.
    #[serde(rename = "sub")]
    pub subject: Option<String>,
    /// Who may take it.
    #[serde(rename = "aud", default)]
    pub audience: Audience,
    /// When it ends, in seconds since the epoch.
    #[serde(rename = "exp")]
    pub expires: NumericDate,
    /// When it begins.
    #[serde(rename = "nbf")]
    pub not_before: Option<NumericDate>,
    /// When it was made.
    #[serde(rename = "iat")]
    pub issued: Option<NumericDate>,
    /// Its name.
    #[serde(rename = "jti")]
    pub id: Option<String>,
    /// What it gives access to.
    #[serde(default, deserialize_with = "or_empty")]
    pub access: Vec<Access>,
    /// The blob that it is for: only in signed URLs.
    pub digest: Option<String>,
}

/// One thing, and what may be done with it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Access {
    /// `repository`, `registry`, or either with a class in parentheses.
    #[serde(rename = "type")]
    pub kind: String,
    /// Name of the thing.
    pub name: String,
    /// `pull`, `push`, `delete`, `*`.
    #[serde(default, deserialize_with = "or_empty")]
    pub actions: Vec<String>,
}

/// Reads an array, or `null` as an empty one: Go's servers write it.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Claims {
    /// Says until when the token counts; clocks may differ by `leeway` seconds.
    ///
    /// # Errors
    ///
    /// [`Refusal::Expired`] from `exp` plus leeway on; [`Refusal::NotYetValid`] before `nbf` less leeway,
    /// and if it was issued later than `now` plus leeway.
    pub(super) fn valid_until(&self, now: u64, leeway: u64) -> Result<u64, Refusal> {
        let until = self.expires.0.saturating_add(leeway);
        if until <= now {
            return Err(Refusal::Expired);
        }
        let begins = [self.not_before, self.issued].into_iter().flatten().max();
        if begins.is_some_and(|date| date.0 > now.saturating_add(leeway)) {
            return Err(Refusal::NotYetValid);
        }
        Ok(until)
    }
}

/// A date in seconds since the epoch, its fraction cut off (RFC 7519 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NumericDate(pub u64);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Seconds;
        impl Visitor<'_> for Seconds {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("seconds since the epoch")
            }

            fn visit_u64<E: serde::de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                if seconds > DATE_MAX {
                    return Err(E::custom("no date"));
                }
                Ok(NumericDate(seconds))
            }

            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_precision_loss,
                clippy::cast_sign_loss,
                reason = "checked to be a small positive number"
            )]
            fn visit_f64<E: serde::de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                if !(0.0..=DATE_MAX as f64).contains(&seconds) {
                    return Err(E::custom("no date"));
                }
                Ok(NumericDate(seconds as u64))
            }
        }
        deserializer.deserialize_any(Seconds)
    }
}

/// Who may take a token: one name or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience(Vec<String>);

impl Audience {
    /// Says whether `name` is among them.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|own| own == name)
    }
}

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Audience;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or an array of names")
            }

            fn visit_str<E>(self, name: &str) -> Result<Audience, E> {
                Ok(Audience(vec![name.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Audience, A::Error> {
                let mut audience = Audience::default();
                while let Some(name) = names.next_element()? {
                    audience.0.push(name);
                }
                Ok(audience)
            }

            fn visit_unit<E>(self) -> Result<Audience, E> {
                Ok(Audience::default())
            }
        }
        deserializer
            .deserialize_any(Names)
            .map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Option<Claims> {
        serde_json::from_str(text).ok()
    }

    #[test]
    fn a_date_that_is_none_is_no_token() {
        for (date, seconds) in [
            ("0", Some(0)),
            ("1700000000", Some(1_700_000_000)),
            ("1700000000.9", Some(1_700_000_000)),
            ("1.7e9", Some(1_700_000_000)),
            ("253402300799", Some(DATE_MAX)),
            ("253402300800", None),
            ("253402300800.5", None),
            ("18446744073709551616", None),
            ("-1", None),
            ("-0.5", None),
            ("1e300", None),
            ("1e400", None),
            ("\"1700000000\"", None),
            ("true", None),
            ("[1]", None),
            ("null", None),
        ] {
            let claims = read(&format!(r#"{{"exp":{date}}}"#));
            assert_eq!(claims.map(|claims| claims.expires.0), seconds, "{date}");
            if date != "null" {
                for name in ["nbf", "iat"] {
                    let claims = read(&format!(r#"{{"exp":1,"{name}":{date}}}"#));
                    assert_eq!(claims.is_some(), seconds.is_some(), "{name} {date}");
                }
            }
        }
    }

    #[test]
    fn a_claim_that_comes_twice_or_is_of_the_wrong_kind_is_refused() {
        for bad in [
            "{}",
            r#"{"exp":1,"exp":2}"#,
            r#"{"exp":1,"aud":"a","aud":"b"}"#,
            r#"{"exp":1,"access":[],"access":[]}"#,
            r#"{"exp":1,"access":[{"type":"repository","name":"a","name":"b"}]}"#,
            r#"{"exp":1,"digest":1}"#,
            r#"{"exp":1,"sub":["a"]}"#,
            r#"{"exp":1,"aud":1}"#,
            r#"{"exp":1,"aud":["a",1]}"#,
            r#"{"exp":1,"access":{}}"#,
            r#"{"exp":1,"access":[{"name":"a","actions":["pull"]}]}"#,
            r#"{"exp":1} x"#,
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn claims_are_read_as_servers_write_them() {
        let text = json!({
            "iss": "auth", "sub": "me", "aud": ["a", "b"], "exp": 3, "nbf": 1, "iat": 2.5, "jti": "x",
            "access": [{"type": "repository", "class": "", "name": "a/b", "actions": null}],
            "digest": "sha256:1", "more": {"deep": [1]},
        });
        let claims = read(&text.to_string()).unwrap();
        assert_eq!(claims.issuer.as_deref(), Some("auth"));
        assert!(claims.audience.contains("b") && !claims.audience.contains("c"));
        assert_eq!(claims.issued, Some(NumericDate(2)));
        assert_eq!(claims.access[0].actions, [""; 0]);
        let bare = read(r#"{"exp":1,"access":null,"aud":null,"nbf":null}"#).unwrap();
        assert!(bare.access.is_empty() && !bare.audience.contains(""));
    }

    #[test]
    fn a_token_counts_from_its_first_second_to_its_last() {
        let claims = read(r#"{"exp":1000,"nbf":500,"iat":400}"#).unwrap();
        for (now, leeway, expected) in [
            (999, 0, Ok(1000)),
            (1000, 0, Err(Refusal::Expired)),
            (1029, 30, Ok(1030)),
            (1030, 30, Err(Refusal::Expired)),
            (500, 0, Ok(1000)),
            (499, 0, Err(Refusal::NotYetValid)),
            (470, 30, Ok(1030)),
            (469, 30, Err(Refusal::NotYetValid)),
            (u64::MAX, 30, Err(Refusal::Expired)),
            (0, u64::MAX, Ok(u64::MAX)),
        ] {
            assert_eq!(claims.valid_until(now, leeway), expected, "{now} {leeway}");
        }
        let issued = read(r#"{"exp":1000,"iat":500}"#).unwrap();
        assert_eq!(issued.valid_until(469, 30), Err(Refusal::NotYetValid));
        assert_eq!(issued.valid_until(470, 30), Ok(1030));
    }
}
