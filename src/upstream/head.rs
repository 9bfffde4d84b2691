//! Reads a next hop's response head, and from it how the body is framed.
//!
//! httparse reads the lines; what two readers could frame differently is refused here
//! (RFC 9112 §6.3, §11.2).

use crate::http::grammar::{decimal, trim};
use crate::limits::HEADERS_MAX;

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes; there is no body where it is 0.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// With the connection: its length is never known.
    UntilClose,
}

/// A response head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    /// Names in lower case; bytes of values that are not UTF-8 are replaced.
    pub fields: Vec<(String, String)>,
    /// What `Content-Length` says, also where no body follows (HEAD, 304).
    pub length: Option<u64>,
    pub framing: Framing,
    /// Whether the connection may carry another request after this body.
    pub is_persistent: bool,
}

/// Reads one head from the start of `bytes`; returns it and its length, `None` if it is not complete.
///
/// Interim responses (1xx) are heads of their own, without a body.
///
/// # Errors
/// What is wrong with it.
pub fn parse(bytes: &[u8], is_head: bool) -> Result<Option<(Head, usize)>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err("too many header fields"),
        Err(_) => return Err("malformed response head"),
    };
    let (Some(status), Some(version)) = (response.code, response.version) else {
        return Err("malformed response head");
    };
    if !(100..600).contains(&status) {
        return Err("status outside 100 to 599");
    }
    let head = frame(status, version, response.headers, is_head)?;
    Ok(Some((head, length)))
}

fn frame(
    status: u16,
    version: u8,
    fields: &[httparse::Header<'_>],
    is_head: bool,
) -> Result<Head, &'static str> {
    let mut length = None;
    let mut is_chunked = false;
    let mut is_persistent = version >= 1;
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let value = decimal(trim(field.value)).ok_or("malformed Content-Length")?;
            if length.replace(value).is_some() {
                return Err("more than one Content-Length");
            }
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            let is_known = trim(field.value).eq_ignore_ascii_case(b"chunked");
            if is_chunked || !is_known || version == 0 {
                return Err("transfer coding other than chunked");
            }
            is_chunked = true;
        } else if field.name.eq_ignore_ascii_case("connection") {
            is_persistent &= !has_option(field.value, b"close");
        }
    }
    if is_chunked && length.is_some() {
        return Err("both Transfer-Encoding and Content-Length");
    }
    let has_no_body = is_head || status < 200 || matches!(status, 204 | 304);
    let framing = match length {
        _ if has_no_body => Framing::Length(0),
        _ if is_chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    // A 204 that announces a body may well send it.
    let is_suspect = status == 204 && (is_chunked || length.is_some_and(|length| length > 0));
    Ok(Head {
        status,
        fields: fields.iter().map(owned).collect(),
        length: length.filter(|_| status != 204),
        framing,
        is_persistent: is_persistent && !is_suspect && framing != Framing::UntilClose,
    })
}

fn owned(field: &httparse::Header<'_>) -> (String, String) {
    let value = String::from_utf8_lossy(trim(field.value)).into_owned();
    (field.name.to_ascii_lowercase(), value)
}

fn has_option(value: &[u8], option: &[u8]) -> bool {
    value
        .split(|&byte| byte == b',')
        .any(|part| trim(part).eq_ignore_ascii_case(option))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head, &'static str> {
        let (head, length) = parse(text.as_bytes(), false)?.ok_or("not complete")?;
        assert_eq!(length, text.len());
        Ok(head)
    }

    fn framing(fields: &str) -> Result<(Framing, bool), &'static str> {
        let head = head(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))?;
        Ok((head.framing, head.is_persistent))
    }

    #[test]
    fn one_framing_or_none() {
        for (fields, expected) in [
            ("Content-Length: 5\r\n", (Framing::Length(5), true)),
            ("Transfer-Encoding: Chunked\r\n", (Framing::Chunked, true)),
            ("", (Framing::UntilClose, false)),
            (
                "Content-Length: 5\r\nConnection: x, Close\r\n",
                (Framing::Length(5), false),
            ),
        ] {
            assert_eq!(framing(fields), Ok(expected), "{fields}");
        }
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding : chunked\r\n",
            "X: y\r\n folded\r\n",
        ] {
            assert!(framing(fields).is_err(), "{fields}");
        }
        assert!(head("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(head("HTTP/1.1 999 No\r\n\r\n").is_err());
    }

    #[test]
    fn answers_without_a_body_have_none() {
        for status in [100, 103, 204, 304] {
            let head = head(&format!("HTTP/1.1 {status} X\r\nETag: \"a\"\r\n\r\n")).unwrap();
            assert_eq!(head.framing, Framing::Length(0));
        }
        let text = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
        let (head, _) = parse(text, true).unwrap().unwrap();
        assert_eq!((head.framing, head.length), (Framing::Length(0), Some(5)));
        assert_eq!(parse(&text[..text.len() - 1], true), Ok(None));
    }
}
