//! Bytes that nobody can guess.

use std::io;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

/// Returns `N` bytes that nobody can guess.
///
/// # Errors
/// When the kernel gives none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the kernel gives no random bytes"))?;
    Ok(bytes)
}
