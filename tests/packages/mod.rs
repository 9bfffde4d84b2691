//! What is installed, as those who install it meet it.

mod deb;
mod machine;
mod units;
