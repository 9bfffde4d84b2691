//! Response heads of next hops: one framing, and the same head however it arrives.

use transship::upstream::head::{Framing, parse};

pub fn check(bytes: &[u8]) {
    for is_head in [false, true] {
        let Ok(Some((head, length))) = parse(bytes, is_head) else {
            continue;
        };
        assert!(length <= bytes.len() && bytes[..length].ends_with(b"\n"));
        assert_eq!(
            parse(&bytes[..length], is_head),
            Ok(Some((head.clone(), length)))
        );
        for cut in 0..length {
            let early = parse(&bytes[..cut], is_head);
            assert_eq!(early, Ok(None), "complete or refused at {cut} of {length}");
        }
        assert!((100..600).contains(&head.status));
        let named = |wanted: &str| {
            head.fields
                .iter()
                .filter(|(name, _)| name == wanted)
                .count()
        };
        let (lengths, codings) = (named("content-length"), named("transfer-encoding"));
        assert!(lengths + codings <= 1, "two framings");
        match head.framing {
            Framing::Chunked => assert_eq!(codings, 1),
            Framing::UntilClose => assert!(lengths == 0 && !head.is_persistent),
            Framing::Length(_) => {}
        }
        if is_head {
            assert_eq!(
                head.framing,
                Framing::Length(0),
                "nothing follows an answer to HEAD"
            );
        }
        for (name, value) in &head.fields {
            assert!(!name.is_empty() && !name.contains(['\r', '\n', ':', ' ']));
            assert!(!value.contains(['\r', '\n', '\0']), "{value:?}");
        }
    }
}
