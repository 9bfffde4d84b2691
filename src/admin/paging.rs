//! The query of a list of blobs, and the word for where a page ends.

use crate::http::Query;
use crate::store::{Kind, Listing, Place, Sort};

/// Rows of a page when nobody says.
const ROWS: usize = 100;
/// Most rows of a page.
const ROWS_MAX: usize = 1000;

/// Reads a query.
///
/// # Errors
/// What is wrong with it, for whoever wrote it.
pub(super) fn read(query: &str) -> Result<Listing, String> {
    let query = Query::new(Some(query));
    let find = |name: &str| query.find(name).map_err(|error| format!("{name}: {error}"));
    let sort = match find("sort")?.as_deref() {
        None | Some("digest") => Sort::Digest,
        Some("size") => Sort::Size,
        Some("used") => Sort::Used,
        Some("hits") => Sort::Hits,
        Some(_) => return Err("sort: want digest, size, used or hits".to_owned()),
    };
    let most = match find("limit")? {
        None => ROWS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|most| (1..=ROWS_MAX).contains(most))
            .ok_or_else(|| format!("limit: want 1 to {ROWS_MAX}"))?,
    };
    let prefix = find("prefix")?.unwrap_or_default().into_owned();
    let hex = prefix
        .split_once(':')
        .map_or(prefix.as_str(), |(_, hex)| hex);
    let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex || prefix.len() > crate::digest::TEXT_BYTES_MAX {
        return Err(
            "prefix: want the beginning of a digest, such as sha256:12ab or 12ab".to_owned(),
        );
    }
    let after =
        find("after")?.map(|text| place(&text).ok_or("after: want `next` of a page before"));
    Ok(Listing {
        prefix,
        repository: find("repository")?.map(std::borrow::Cow::into_owned),
        sort,
        after: after.transpose()?,
        most,
    })
}

/// Reads a flag: absent, `true` or `false`.
///
/// # Errors
/// As [`read`].
pub(super) fn flag(query: &str, name: &str) -> Result<bool, String> {
    let found = Query::new(Some(query)).find(name);
    match found
        .map_err(|error| format!("{name}: {error}"))?
        .as_deref()
    {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(format!("{name}: want true or false")),
    }
}

/// Writes where a page ends, as `after` takes it.
pub(super) fn write(place: &Place) -> String {
    format!("{:x}.{}.{}", place.rank, place.kind.noun(), place.digest)
}

fn place(text: &str) -> Option<Place> {
    let mut parts = text.splitn(3, '.');
    let rank = u64::from_str_radix(parts.next()?, 16).ok()?;
    let kind = match parts.next()? {
        "blob" => Kind::Blob,
        "manifest" => Kind::Manifest,
        _ => return None,
    };
    let digest = parts.next()?.parse().ok()?;
    Some(Place { rank, digest, kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Algorithm, Digest};

    #[test]
    fn a_query_is_read_and_its_end_of_a_page_is_found_again() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let place = Place {
            rank: 77,
            digest,
            kind: Kind::Manifest,
        };
        let query = format!(
            "sort=size&limit=5&repository=a%2Fb&prefix=sha256:0a&after={}",
            write(&place)
        );
        let listing = read(&query).unwrap();
        assert_eq!(
            (listing.sort, listing.most, listing.after),
            (Sort::Size, 5, Some(place))
        );
        assert_eq!(
            (listing.repository.as_deref(), &*listing.prefix),
            (Some("a/b"), "sha256:0a")
        );
        assert_eq!(read("").unwrap().most, ROWS);
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for query in [
            "limit=0",
            "limit=1001",
            "limit=99999999999999999999",
            "limit=-1",
            "limit=x",
            "limit=1&limit=2",
            "sort=name",
            "prefix=xyz",
            "prefix=SHA256:AB",
            "after=1",
            "after=zz.blob.sha256:00",
            "after=%00",
            &format!("prefix={}", "a".repeat(500)),
        ] {
            assert!(read(query).is_err(), "{query}");
        }
        assert_eq!(flag("force=true", "force"), Ok(true));
        assert_eq!(flag("", "force"), Ok(false));
        assert!(flag("force=1", "force").is_err());
    }
}
