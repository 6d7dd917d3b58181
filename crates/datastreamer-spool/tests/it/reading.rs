//! What readers get: every byte of every offset, while a production runs and afterwards.

use bytes::Bytes;
use datastreamer_spool::{How, Key, Piece};

use crate::common::*;

#[test]
fn a_reader_gets_the_bytes_of_the_source() {
    let folder = folder();
    let spool = spool(&folder);
    let length = 3_000_000;
    let (production, how) = spool
        .join_or_begin(Key::new("a"), || beginning(length))
        .unwrap();
    assert_eq!(how, How::Begun);
    assert_eq!(read(all(&production)).0, bytes(0..length));
    complete(&production);
    assert_eq!(production.length(), Some(length));
    let (valid, end) = read(all(&production));
    end.unwrap();
    assert_eq!(valid, bytes(0..length));
    let digests = production.digests().unwrap();
    assert_eq!(digests.blake3, *blake3::hash(&bytes(0..length)).as_bytes());
}

#[test]
fn pieces_follow_each_other() {
    let folder = folder();
    let spool = spool(&folder);
    let (led, reader) = led();
    let begin = || datastreamer_spool::Beginning::new(reader);
    let (production, _) = spool.join_or_begin(Key::new("a"), begin).unwrap();
    let pieces = || {
        vec![
            Piece::Bytes(Bytes::from_static(b"--head\r\n")),
            Piece::Range(10..200_000),
            Piece::Bytes(Bytes::from_static(b"--tail\r\n")),
            Piece::Range(5..5),
            Piece::Range(3..4),
            Piece::From(150_000),
        ]
    };
    let early = production.open(pieces(), readers());
    led.write(300_000);
    led.tell(Word::End);
    let early = read(early);
    complete(&production);
    let late = read(production.open(pieces(), readers()));
    let mut expected = b"--head\r\n".to_vec();
    expected.extend(bytes(10..200_000));
    expected.extend(b"--tail\r\n");
    expected.extend(bytes(3..4));
    expected.extend(bytes(150_000..300_000));
    for (valid, end) in [early, late] {
        end.unwrap();
        assert_eq!(valid, expected);
    }
}
