//! Why a request head is refused.

use std::fmt;

/// A request head that is not served. Always the client's fault, or that of a proxy before it.
///
/// After any of these the connection must close: where the next request would begin is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// No blank line within [`crate::limits::REQUEST_HEAD_BYTES_MAX`].
    HeadTooLong,
    /// A target beyond [`crate::limits::REQUEST_TARGET_BYTES_MAX`], or a first line that long.
    TargetTooLong,
    /// More than [`crate::limits::HEADERS_MAX`] fields.
    TooManyFields,
    /// A line feed without carriage return before it.
    BareLf,
    /// A carriage return without line feed after it.
    BareCr,
    /// A zero byte.
    Nul,
    /// More than one empty line before the request line.
    EmptyLines,
    /// Given to the parser without its blank line, or with bytes after it.
    Unterminated,
    /// Not `method SP target SP version`.
    RequestLine,
    /// A method that no resource here knows.
    MethodUnknown,
    /// Bytes that no URI has, a fragment, or a form that the method does not take.
    Target,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
    /// A field line that begins with a space: `obs-fold`.
    FoldedField,
    /// No colon, or a field name that is empty or no token; a space before the colon counts.
    FieldName,
    /// A control byte in a field value.
    FieldValue,
    /// A field that may come once came twice, equal or not.
    FieldRepeated,
    /// HTTP/1.1 without `Host`.
    HostMissing,
    /// A `Host` or authority that is no host with an optional port.
    HostInvalid,
    /// A `Content-Length` that is not digits only, or does not fit 64 bits.
    ContentLength,
    /// `Transfer-Encoding` along with `Content-Length`.
    FramingAmbiguous,
    /// `Transfer-Encoding` in HTTP/1.0.
    TransferEncodingInHttp10,
    /// A transfer coding other than `chunked` alone.
    TransferCodingUnknown,
    /// An expectation other than `100-continue`.
    Expectation,
}

impl RequestError {
    /// Returns the status that says it to the client.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::TargetTooLong => 414,
            Self::Expectation => 417,
            Self::HeadTooLong | Self::TooManyFields => 431,
            // RFC 9110 §9.1; RFC 9112 §6.1.
            Self::MethodUnknown | Self::TransferCodingUnknown => 501,
            Self::Version => 505,
            Self::BareLf
            | Self::BareCr
            | Self::Nul
            | Self::EmptyLines
            | Self::Unterminated
            | Self::RequestLine
            | Self::Target
            | Self::FoldedField
            | Self::FieldName
            | Self::FieldValue
            | Self::FieldRepeated
            | Self::HostMissing
            | Self::HostInvalid
            | Self::ContentLength
            | Self::FramingAmbiguous
            | Self::TransferEncodingInHttp10 => 400,
        }
    }

    /// Returns a few constant words for the body and the log; never the client's bytes.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::HeadTooLong => "request head too long",
            Self::TargetTooLong => "request target too long",
            Self::TooManyFields => "too many header fields",
            Self::BareLf => "line feed without carriage return",
            Self::BareCr => "carriage return without line feed",
            Self::Nul => "zero byte in request head",
            Self::EmptyLines => "empty lines before the request line",
            Self::Unterminated => "request head without its end",
            Self::RequestLine => "malformed request line",
            Self::MethodUnknown => "method not implemented",
            Self::Target => "malformed request target",
            Self::Version => "HTTP version not supported",
            Self::FoldedField => "folded header field",
            Self::FieldName => "malformed header field name",
            Self::FieldValue => "control byte in header field",
            Self::FieldRepeated => "header field repeated",
            Self::HostMissing => "Host missing",
            Self::HostInvalid => "malformed Host",
            Self::ContentLength => "malformed Content-Length",
            Self::FramingAmbiguous => "Content-Length along with Transfer-Encoding",
            Self::TransferEncodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::TransferCodingUnknown => "transfer coding not implemented",
            Self::Expectation => "expectation not supported",
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for RequestError {}
