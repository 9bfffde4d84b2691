//! Every parser on input that ends where an unmapped page begins: one byte read too far is a fault.
//!
//! A fault kills this test binary, which is the failure to look for.
#![expect(unsafe_code, reason = "laying the trap takes mmap and mprotect")]

use std::ptr::NonNull;

use transship::http::{
    Chunked, HeadScan, Piece, Query, Side, if_none_match, if_range_matches, parse, range,
};
use transship::registry::{NextPage, Route, challenge, media_type};

/// Bytes that may be used, before as many that must not be touched: a multiple of any page size here.
const ROOM_BYTES: usize = 64 * 1024;

/// A mapping whose second half is not accessible.
struct Guarded {
    start: NonNull<u8>,
}

impl Guarded {
    fn new() -> Self {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches no other memory.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                2 * ROOM_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(mapped, libc::MAP_FAILED);
        let start = NonNull::new(mapped.cast::<u8>()).expect("mmap gives no null");
        // SAFETY: the mapping is twice `ROOM_BYTES` long, so its second half begins within it.
        let trap = unsafe { start.as_ptr().add(ROOM_BYTES) };
        // SAFETY: the range is the second half of our own mapping, which nothing refers to.
        let denied = unsafe { libc::mprotect(trap.cast(), ROOM_BYTES, libc::PROT_NONE) };
        assert_eq!(denied, 0);
        Self { start }
    }

    /// Returns a copy of `input` whose last byte is the last one that may be read.
    fn flush(&mut self, input: &[u8]) -> &[u8] {
        // SAFETY: the first `ROOM_BYTES` are mapped, writable, zeroed by the kernel, and borrowed through
        // `&mut self` for as long as the slice lives.
        let room = unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), ROOM_BYTES) };
        let end = &mut room[ROOM_BYTES - input.len()..];
        end.copy_from_slice(input);
        end
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: unmaps what `new` mapped; slices of it cannot outlive `self`.
        let unmapped = unsafe { libc::munmap(self.start.as_ptr().cast(), 2 * ROOM_BYTES) };
        assert_eq!(unmapped, 0);
    }
}

/// Gives every prefix of `input` to `read`, flush against the trap.
fn every_prefix(input: &[u8], mut read: impl FnMut(&[u8])) {
    let mut guarded = Guarded::new();
    for end in 0..=input.len() {
        read(guarded.flush(&input[..end]));
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("inputs are ASCII")
}

#[test]
fn no_byte_beyond_a_request_head_is_read() {
    let head = b"\r\nGET http://[::1]:80/v2/a/blobs/sha256%3a00?ns=b HTTP/1.1\r\nHost: a:80\r\n\
        Accept: a/b\r\naccept: c\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\
        If-None-Match: \"a\"\r\nRange: bytes=0-\r\nX:\r\n\r\n";
    let mut whole = 0;
    every_prefix(head, |bytes| {
        let found = HeadScan::new()
            .scan(bytes)
            .expect("a prefix is well-formed");
        assert_eq!(found.is_some(), bytes.len() == head.len());
        if let Ok(request) = parse(bytes) {
            whole += 1;
            assert_eq!(request.fields().count(), 8);
            assert_eq!(request.accept.clone().count(), 2);
        }
    });
    assert_eq!(whole, 1);
}

#[test]
fn no_byte_beyond_a_chunked_body_is_read() {
    every_prefix(
        b"1;a=b\r\nx\r\n0a\r\n0123456789\r\n0\r\nA: b\r\n\r\n",
        |bytes| {
            let mut decoder = Chunked::new(Side::Response);
            let mut at = 0;
            while let Piece::Data(content) = decoder.decode(&bytes[at..]).expect("well-formed") {
                at += content.end;
            }
        },
    );
}

#[test]
fn no_byte_beyond_a_value_is_read() {
    every_prefix(b"bytes=0-1, 5-6,-7,9999999999999999999999-", |bytes| {
        let _ = range::parse(bytes, 100);
    });
    every_prefix(b"W/\"sha256:a\", \"b\"", |bytes| {
        let _ = if_none_match([bytes], b"\"b\"");
        let _ = if_range_matches(bytes, b"\"b\"");
    });
    every_prefix(
        b"Bearer realm=\"a\\\"b\", scope=x, Basic abc==, NTLM",
        |bytes| {
            let _ = challenge::parse(text(bytes));
        },
    );
    every_prefix(
        b"<https://a:1/v2/x?n=%2f>; a=\"b;c\"; rel=\"next\"",
        |bytes| {
            let _ = NextPage::parse(text(bytes));
        },
    );
    every_prefix(b"/v2/a/b--c/manifests/blobs/sha256%3A00", |bytes| {
        let _ = Route::parse(text(bytes), "/");
    });
    every_prefix(b"a=b&n=%41+%zz", |bytes| {
        let _ = Query::new(Some(text(bytes))).find("n");
    });
    every_prefix(b"application/json; charset=utf-8", |bytes| {
        let _ = media_type::essence(text(bytes));
    });
}
