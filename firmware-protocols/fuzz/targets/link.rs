//! Batches and acks: what parses is written again as it was.
#![no_main]

use firmware_protocols::link::{Ack, BATCH_BYTES_MAX, BatchView, BatchWriter, Receiver};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(ack) = Ack::parse(bytes) {
        let mut buffer = [0; Ack::BYTES_MAX];
        let length = ack.emit(&mut buffer).expect("the buffer holds any ack");
        assert_eq!(Ack::parse(&buffer[..length]), Ok(ack));
    }
    let Ok(batch) = BatchView::parse(bytes) else { return };
    let offer = Receiver::at(batch.head() / 2).offer(batch.extent());
    assert!(offer.skip + offer.take <= batch.len());
    // Written by others a batch may be shorter than we would write it, by the header of its array.
    let mut buffer = vec![0; BATCH_BYTES_MAX];
    let mut writer =
        BatchWriter::new(&mut buffer, batch.key(), batch.oldest(), batch.head()).expect("the buffer is long");
    for entry in batch.entries() {
        if !writer.push(&entry).expect("what was parsed is legal") {
            return;
        }
    }
    let again = BatchView::parse(writer.finish()).expect("what was written parses");
    assert_eq!(again.extent(), batch.extent());
    assert!(again.entries().eq(batch.entries()));
});
