//! Finds the parameters of a raw query that registries know: `ns`, `n`, `last`, `artifactType`, `token`.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// Most parameters of one query that are looked at; a query with more has none.
const PARAMETERS_MAX: usize = 32;

/// The query of a request, undecoded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query<'a> {
    raw: &'a str,
}

/// Why a parameter cannot be used. The client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// It is there more than once, or among too many: two readers could take different values.
    Repeated,
    /// Its value is not UTF-8 after decoding, or holds a control character.
    Malformed,
}

impl std::fmt::Display for QueryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Repeated => "query parameter repeated",
            Self::Malformed => "malformed query parameter",
        })
    }
}

impl std::error::Error for QueryError {}

impl<'a> Query<'a> {
    /// Returns the query that a request carries, without its `?`; `None` has no parameters.
    #[must_use]
    pub fn new(raw: Option<&'a str>) -> Self {
        Self {
            raw: raw.unwrap_or_default(),
        }
    }

    /// Returns the decoded value of the parameter `name`; `None` if it is absent.
    ///
    /// `+` is a space, as Go's clients write it. Names are compared undecoded. Allocates only if
    /// something was encoded.
    ///
    /// # Errors
    ///
    /// [`QueryError`], when the parameter is ambiguous or no text.
    pub fn find(&self, name: &str) -> Result<Option<Cow<'a, str>>, QueryError> {
        let mut found = None;
        for (index, parameter) in self.raw.split('&').enumerate() {
            if index == PARAMETERS_MAX {
                return Err(QueryError::Repeated);
            }
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            if key == name && found.replace(value).is_some() {
                return Err(QueryError::Repeated);
            }
        }
        found.map(decode).transpose()
    }
}

fn decode(value: &str) -> Result<Cow<'_, str>, QueryError> {
    let decoded = if value.contains('+') {
        let spaced = value.replace('+', " ");
        let text = percent_decode(spaced.as_bytes()).decode_utf8();
        Cow::Owned(text.map_err(|_| QueryError::Malformed)?.into_owned())
    } else {
        let text = percent_decode(value.as_bytes()).decode_utf8();
        text.map_err(|_| QueryError::Malformed)?
    };
    if decoded.chars().any(char::is_control) {
        return Err(QueryError::Malformed);
    }
    Ok(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_decoded() {
        let query = Query::new(Some(
            "ns=docker.io&n=5&last=a%2Fb&flag&artifactType=a%2Bb+c&e=",
        ));
        for (name, value) in [
            ("ns", Some("docker.io")),
            ("n", Some("5")),
            ("last", Some("a/b")),
            ("flag", Some("")),
            ("artifactType", Some("a+b c")),
            ("e", Some("")),
            ("N", None),
            ("absent", None),
        ] {
            assert_eq!(query.find(name).unwrap().as_deref(), value, "{name}");
        }
        assert_eq!(Query::new(None).find("n"), Ok(None));
        assert!(matches!(query.find("ns"), Ok(Some(Cow::Borrowed(_)))));
    }

    #[test]
    fn what_is_ambiguous_or_no_text_is_refused() {
        for (query, error) in [
            ("n=1&n=1", QueryError::Repeated),
            ("n=%0d%0aX", QueryError::Malformed),
            ("n=%00", QueryError::Malformed),
            ("n=%ff", QueryError::Malformed),
            ("n=+%c3", QueryError::Malformed),
        ] {
            assert_eq!(Query::new(Some(query)).find("n"), Err(error), "{query}");
        }
        let many = "a=b&".repeat(PARAMETERS_MAX) + "n=1";
        assert_eq!(Query::new(Some(&many)).find("n"), Err(QueryError::Repeated));
    }
}
