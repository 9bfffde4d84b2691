//! Being written.

mod options;

pub use options::{Credentials, Hop, Options};

#[allow(missing_docs)]
#[derive(Debug)]
pub struct Upstream;
#[allow(missing_docs)]
pub enum Method {
    Get,
    Head,
}
#[allow(missing_docs)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub repository: Option<String>,
    pub accept: Option<String>,
    pub if_none_match: Option<String>,
    pub range: Option<(u64, Option<u64>)>,
}
#[allow(missing_docs)]
pub struct Response;
#[allow(missing_docs)]
#[derive(Debug)]
pub struct Error;
impl std::fmt::Display for Error {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Ok(())
    }
}
#[allow(missing_docs)]
impl Error {
    pub fn is_timeout(&self) -> bool {
        false
    }
}
#[allow(missing_docs, clippy::all)]
impl Upstream {
    pub async fn send(&self, _r: &Request) -> Result<Response, Error> {
        Err(Error)
    }
}
#[allow(missing_docs, clippy::all)]
impl Response {
    pub fn status(&self) -> u16 {
        0
    }
    pub fn hop(&self) -> &str {
        ""
    }
    pub fn field(&self, _: &str) -> Option<&str> {
        None
    }
    pub fn content_length(&self) -> Option<u64> {
        None
    }
    pub async fn read(&mut self, buf: Vec<u8>) -> (Result<usize, Error>, Vec<u8>) {
        (Ok(0), buf)
    }
    pub async fn bytes(self, _max: usize) -> Result<Vec<u8>, Error> {
        Ok(vec![])
    }
}
