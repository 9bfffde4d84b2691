//! Storage on another host, where registries send those who want a blob.

use super::{LOST_BYTES_MAX, MIB, Stage};
use crate::support::{FaultProxy, Harm, On};

const SIZE: usize = 4 * MIB;

#[test]
fn a_fill_that_breaks_at_the_storage_goes_on_there_by_way_of_the_registry() {
    // The range has to go along, and the registry's token has not.
    let stage = Stage::set();
    let storage = FaultProxy::elsewhere(stage.registry.addr());
    let blob = stage.make(1, SIZE);
    let on = On::blob(&blob);
    stage
        .hop()
        .harm_always(&on, &Harm::redirect(&storage.url(), "x"));
    storage.harm(&on, 2, &Harm::none().cut(MIB as u64));
    stage.expect_whole(&blob);
    let (sent, size) = (storage.sent(&blob), SIZE as u64);
    assert!(sent <= size + 2 * LOST_BYTES_MAX, "{sent} of {size}");
    for asked in storage.asked(&blob) {
        assert_eq!(asked.request.field("authorization"), None);
    }
    assert!(
        storage
            .asked(&blob)
            .iter()
            .skip(1)
            .all(|asked| asked.from() > 0)
    );
}

#[test]
fn a_blob_that_moves_to_another_host_in_mid_fill_goes_on_there() {
    // A registry may serve by itself first, and from its storage a moment later.
    let stage = Stage::set();
    let storage = FaultProxy::elsewhere(stage.registry.addr());
    let blob = stage.make(2, SIZE);
    let on = On::blob(&blob);
    stage.hop().harm(&on, 1, &Harm::none().cut(MIB as u64));
    stage
        .hop()
        .harm_always(&on, &Harm::redirect(&storage.url(), "x"));
    stage.expect_whole(&blob);
    let sent = stage.sent(&blob) + storage.sent(&blob);
    assert!(sent <= SIZE as u64 + LOST_BYTES_MAX, "{sent}");
}

#[test]
fn a_signed_address_is_asked_for_anew_when_the_first_has_ended() {
    // Signed addresses live for minutes: one that was kept answers 403 for ever after.
    let stage = Stage::set();
    let storage = FaultProxy::elsewhere(stage.registry.addr());
    let blob = stage.make(3, SIZE);
    let on = On::blob(&blob);
    let signed = |name: &str| Harm::redirect(&storage.url(), name);
    stage.hop().harm(&on, 1, &signed("signature=first"));
    stage
        .hop()
        .harm_always(&On::blobs(), &signed("signature=second"));
    let first = On::target("signature=first");
    storage.harm(&first, 1, &Harm::none().cut(MIB as u64));
    storage.harm_always(&first, &Harm::status(403, &[]));
    stage.expect_whole(&blob);
    // Nor does it stick to another blob, or to the next pull.
    let other = stage.make(4, SIZE);
    stage.expect_whole(&other);
    assert_eq!(storage.asked(&other).len(), 1);
}
