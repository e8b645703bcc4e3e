//! The byte tables of docs/FORMAT.md, written out by hand.

use super::*;
use crate::position::Lsn;

fn crc(parts: &[&[u8]]) -> [u8; 4] {
    crc32c::crc32c(&parts.concat()).to_le_bytes()
}

#[test]
fn a_record_is_laid_out_as_documented() {
    let record = Record {
        group: 0x0102_0304_0506_0708,
        kind: Kind::Control(9),
        index: 11,
        term: 12,
        seq: 13,
        timestamp: -14,
        key: b"key",
        headers: b"head",
        payload: b"payload!",
    };
    let mut out = vec![0xee];
    encode_record(&mut out, Seed::new(77), 4144, &record);
    let mut header = Vec::new();
    header.extend(crc(&[b"keyheadpayload!"]));
    header.extend(0x0102_0304_0506_0708_u64.to_le_bytes());
    header.extend(11_u64.to_le_bytes());
    header.extend(13_u64.to_le_bytes());
    header.extend((-14_i64).to_le_bytes());
    header.extend(12_u32.to_le_bytes());
    header.extend(4_u32.to_le_bytes());
    header.extend(8_u32.to_le_bytes());
    header.extend(3_u16.to_le_bytes());
    header.extend([2, 9]);
    let mut expected = vec![0xee];
    expected.extend(crc(&[
        &77_u64.to_le_bytes(),
        &4144_u64.to_le_bytes(),
        &header,
    ]));
    expected.extend(&header);
    expected.extend(b"keyheadpayload!\0");
    assert_eq!(out, expected);

    let bytes = &out[1..];
    let decoded = RecordHeader::decode(bytes, Seed::new(77), 4144).unwrap();
    let body = decoded.body(bytes).unwrap();
    assert_eq!(format!("{:?}", decoded.record(body)), format!("{record:?}"));
    for elsewhere in [(Seed::new(78), 4144), (Seed::new(77), 4152)] {
        let refused = RecordHeader::decode(bytes, elsewhere.0, elsewhere.1);
        assert_eq!(refused, Err(HeaderError::Damaged));
    }
}

#[test]
fn batch_and_file_headers_are_laid_out_as_documented() {
    let batch = BatchHeader {
        generation: 5,
        file: 6,
        length: 7,
        count: 8,
        previous: 9,
        watermark: Lsn::new(3, 4096),
    };
    let (bytes, sum) = batch.encode(8192);
    let mut tail = Vec::new();
    tail.extend(5_u64.to_le_bytes());
    tail.extend(
        [6, 7, 8, 9]
            .iter()
            .flat_map(|field: &u32| field.to_le_bytes()),
    );
    tail.extend((3_u64 << 32 | 4096).to_le_bytes());
    tail.extend([0; 8]);
    assert_eq!(bytes[..4], *b"JWBT");
    assert_eq!(
        bytes[4..8],
        crc(&[&5_u64.to_le_bytes(), &8192_u64.to_le_bytes(), &tail])
    );
    assert_eq!(bytes[8..], tail);
    assert_eq!(BatchHeader::decode(&bytes, 6, 8192), Some((batch, sum)));
    assert_eq!(BatchHeader::decode(&bytes, 7, 8192), None);

    let file = FileHeader {
        number: 6,
        generation: 5,
        size: 65536,
        previous: Lsn::new(4, 9000),
        chain: 10,
        watermark: Lsn::new(4, 8000),
        encrypted: false,
    };
    let bytes = file.encode();
    assert_eq!(bytes[..8], *b"JWJRNL\r\n");
    assert_eq!(bytes[8..12], crc(&[&bytes[12..]]));
    assert_eq!(bytes[12..24], [1, 0, 64, 0, 0, 0, 0, 0, 6, 0, 0, 0]);
    assert_eq!(bytes[32..36], 65536_u32.to_le_bytes());
    assert_eq!(bytes[36..40], 9000_u32.to_le_bytes());
    assert_eq!(bytes[40..44], 4_u32.to_le_bytes());
    assert_eq!(bytes[44..48], 10_u32.to_le_bytes());
    assert_eq!(FileHeader::decode(&bytes), Ok(file));
}

#[test]
fn every_altered_bit_of_a_header_is_noticed() {
    let file = FileHeader {
        number: 1,
        generation: 2,
        size: 3,
        previous: Lsn(4),
        chain: 5,
        watermark: Lsn(6),
        encrypted: true,
    };
    for bit in 0..FILE_HEADER * 8 {
        let mut bytes = file.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(FileHeader::decode(&bytes).is_err(), "bit {bit}");
    }
    assert_eq!(FileHeader::decode(&[0; 64]), Err(HeadError::Blank));
    let mut later = head(b"JWJRNL\r\n", 1, 1, 2, 0);
    later[12] = 2;
    seal_head(&mut later);
    assert_eq!(FileHeader::decode(&later), Err(HeadError::Unknown));
}

#[test]
fn numbers_of_any_size_and_cut_numbers() {
    for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        let mut bytes = &out[..];
        assert_eq!(take_varint(&mut bytes), Some(value));
        assert!(bytes.is_empty());
        assert_eq!(take_varint(&mut &out[..out.len() - 1]), None);
    }
    assert_eq!(take_varint(&mut &[0xff; 11][..]), None);
}
