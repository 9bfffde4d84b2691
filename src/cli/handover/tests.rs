use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd as _;

use super::channel::{self, DESCRIPTORS_MAX};

#[test]
fn a_message_brings_its_descriptors_and_an_end_brings_none() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (ours, theirs) = channel::pair().unwrap();
    let same = vec![listener.as_fd(); DESCRIPTORS_MAX];
    channel::send(&ours, b"one", &same).unwrap();
    channel::send(&ours, b"two", &[]).unwrap();
    drop(listener);
    let (message, descriptors) = channel::receive(&theirs).unwrap();
    assert_eq!(
        (message.as_slice(), descriptors.len()),
        (&b"one"[..], DESCRIPTORS_MAX)
    );
    // It is the very socket: it listens, though the one it was made from is closed.
    let taken = TcpListener::from(descriptors.into_iter().next().unwrap());
    let mut client = TcpStream::connect(at).unwrap();
    client.write_all(b"x").unwrap();
    let mut got = [0; 1];
    taken.accept().unwrap().0.read_exact(&mut got).unwrap();
    assert_eq!(channel::receive(&theirs).unwrap().0, b"two");
    drop(ours);
    assert_eq!(channel::receive(&theirs).unwrap().0, b"");
    assert!(channel::send(&theirs, b"x", &[]).is_err());
}

#[test]
fn what_is_too_long_is_refused_and_not_cut() {
    let (ours, theirs) = channel::pair().unwrap();
    channel::send(&ours, &[b'x'; 5000], &[]).unwrap();
    let error = channel::receive(&theirs).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
}
