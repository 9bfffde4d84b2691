//! What a fill does by itself: no next hop, and a disk only where one fails.

mod pace;
mod plan;
mod sink;
mod spill;
mod wants;
