//! What is installed, as those who install it meet it.

mod activation;
mod container;
mod deb;
mod machine;
mod manifests;
mod units;
