//! What the operator and the hops allow of the way to them: requests at once, and bytes a second.
//!
//! ```text
//!  a request ─▶ gate ──▶ line     whose turn it is, at a hop with room that is not to be left alone
//!  a fill ────▶ share ─▶ rate     whose bytes are within the bound, by turns
//! ```
//!
//! `line` and `rate` have neither clock nor tasks; `gate` and `share` wait.

mod gate;
mod line;
mod rate;
mod seat;
mod share;

pub(super) use gate::{Gate, NoTurn, Permit, Reason};
pub(super) use line::Kind;
pub(super) use share::Bandwidth;
pub use share::Share;
