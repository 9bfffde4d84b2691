//! HTTP/1.1 and the registry API as clients speak them, over real sockets.

mod api;
mod conditions;
mod connection;
mod limits;
mod ranges;
mod slow;
mod slowloris;
mod smuggling;
mod traps;
