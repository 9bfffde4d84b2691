//! HTTP/1.1 as bytes and values: request heads, body framing, ranges, response heads.
//!
//! Nothing here reads a socket, a file or a clock; callers bring bytes, dates and boundaries.
//! Whatever two readers could take for two different messages is refused, never repaired: a cache
//! that guesses is half of a request smuggling attack (RFC 9112 §11.2).
//!
//! ```text
//!   bytes ─▶ HeadScan ─▶ parse ─▶ Request ─▶ Chunked (a body to drain)
//!                                    │
//!                                    ├─▶ range::parse ─▶ Multipart
//!                                    ╰─▶ Query
//!   ResponseHead ─▶ bytes
//! ```

pub mod body;
pub mod grammar;
pub mod multipart;
pub mod query;
pub mod range;
pub mod request;
pub mod response;
pub mod trace;

pub use body::{Chunked, ChunkedError, Piece, Side};
pub use multipart::{Boundary, Multipart};
pub use query::Query;
pub use range::{ContentRange, RangeSpec, Ranges, if_none_match, if_range_matches};
pub use request::{Body, Fields, HeadScan, Method, Request, RequestError, Values, Version, parse};
pub use response::{Connection, Framing, ResponseHead};
pub use trace::Trace;
