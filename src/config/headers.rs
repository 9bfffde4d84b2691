//! `http.headers`: fields that an operator adds to every response.
//!
//! What would break a response's framing, or say about a blob what only the server can know, is refused.

use super::read::{Reader, Spot};
use super::tree::Content;

/// Fields that the server computes, in lower case.
const COMPUTED: &[&str] = &[
    "accept-ranges",
    "cache-status",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "etag",
    "keep-alive",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const WANT: &str = "a map of field names, each with a list of values";

/// Returns the fields in the order of the file, one line for each value.
pub(super) fn read(reader: &mut Reader, spot: &Spot<'_>) -> Option<Vec<(String, String)>> {
    let Some(node) = spot.node() else {
        return Some(Vec::new());
    };
    let Content::Map(entries) = &node.content else {
        reader.refuse(spot, WANT);
        return None;
    };
    let mut fields = Some(Vec::new());
    for entry in entries {
        let spot = spot.at(&entry.value, &entry.key);
        match values(reader, &spot, &entry.key) {
            Some(values) => {
                if let Some(fields) = &mut fields {
                    fields.extend(values.into_iter().map(|value| (entry.key.clone(), value)));
                }
            }
            None => fields = None,
        }
    }
    fields
}

fn values(reader: &mut Reader, spot: &Spot<'_>, name: &str) -> Option<Vec<String>> {
    if !is_token(name) {
        let text = "not a field name: want letters, digits and -";
        reader.report.problem(&spot.origin(), &spot.shown, text);
        return None;
    }
    if COMPUTED.contains(&name.to_ascii_lowercase().as_str()) {
        let text = "cannot be set: the server computes this field for each response";
        reader.report.problem(&spot.origin(), &spot.shown, text);
        return None;
    }
    let values = reader.list(spot, WANT, |reader, item| {
        let Some(Content::Scalar(text)) = item.node().map(|node| &node.content) else {
            reader.refuse(item, "a field value");
            return None;
        };
        if !is_value(text) {
            reader.refuse(
                item,
                "a field value on one line, without control characters",
            );
            return None;
        }
        reader.row_of(item, text, item.origin());
        Some(text.clone())
    })?;
    Some(values.into_iter().map(|(_, value)| value).collect())
}

/// RFC 9110 §5.6.2: the characters of a token.
fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// RFC 9110 §5.5: visible characters, with blanks between but not around them.
fn is_value(text: &str) -> bool {
    text.trim_matches([' ', '\t']).len() == text.len()
        && text.bytes().all(|b| b == b'\t' || (b >= b' ' && b != 0x7f))
}
