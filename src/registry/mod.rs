//! The words of the registry API: names, routes, error codes, media types, challenges, links.
//!
//! Values only. Source: OCI distribution-spec 1.1, and what distribution and its clients do where the
//! specification is silent. A value that exists is well-formed, so no name or digest can carry a path,
//! a query or a line end anywhere.

pub mod challenge;
pub mod error;
pub mod link;
pub mod media_type;
pub mod name;
pub mod route;

pub use challenge::{Challenge, ChallengeError};
pub use error::Code;
pub use link::NextPage;
pub use name::{Name, NameError, Reference, Tag};
pub use route::{Route, RouteError};
