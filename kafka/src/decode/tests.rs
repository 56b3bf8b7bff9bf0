use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMicrosecondType};

use super::*;

const SCHEMA: &str = r#"{"type":"record","name":"T","fields":[
    {"name":"id","type":["null","string"],"default":null},{"name":"price","type":"double"},{"name":"at","type":"string"}]}"#;

fn body(id: Option<&str>, price: f64, at: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let string = |bytes: &mut Vec<u8>, text: &str| {
        bytes.push(u8::try_from(text.len() * 2).unwrap());
        bytes.extend_from_slice(text.as_bytes());
    };
    match id {
        None => bytes.push(0),
        Some(id) => {
            bytes.push(2);
            string(&mut bytes, id);
        }
    }
    bytes.extend_from_slice(&price.to_le_bytes());
    string(&mut bytes, at);
    bytes
}

fn framed(schema: u32, body: &[u8]) -> Vec<u8> {
    [&[0][..], &schema.to_be_bytes(), body].concat()
}

fn batch(values: &[Option<Vec<u8>>]) -> RawBatch {
    let mut batch = RawBatch::default();
    for (offset, value) in values.iter().enumerate() {
        batch.push((0, offset as i64), Some(1), None, value.as_deref(), vec![]);
    }
    batch
}

fn schemas() -> Schemas {
    HashMap::from([
        (7, SchemaEntry::Known(SCHEMA.into())),
        (8, SchemaEntry::Known(SCHEMA.into())),
        (9, SchemaEntry::Unknown),
    ])
}

fn decode(values: &[Option<Vec<u8>>]) -> Decoded {
    TopicDecoder::new(vec!["at".into()]).decode(&batch(values), &schemas())
}

const AT: &str = "2024-03-01T12:00:00Z";

#[test]
fn a_clean_batch_keeps_all_rows() {
    let decoded = decode(&[
        Some(framed(7, &body(Some("a"), 1.5, AT))),
        Some(framed(7, &body(None, 2.5, "2024-03-01T07:00:00.000001-05:00"))),
    ]);
    assert!(decoded.failed.is_empty(), "{:?}", decoded.failed);
    assert_eq!(decoded.groups[0].rows, Rows::All);
    let columns = &decoded.groups[0].columns;
    assert_eq!(
        columns
            .column_by_name("price")
            .unwrap()
            .as_primitive::<Float64Type>()
            .values(),
        &[1.5, 2.5]
    );
    let at = columns
        .column_by_name("at")
        .unwrap()
        .as_primitive::<TimestampMicrosecondType>();
    assert_eq!(at.values(), &[1_709_294_400_000_000, 1_709_294_400_000_001]);
}

#[test]
fn every_kind_of_bad_record_is_named_and_the_others_stay() {
    let good = || Some(framed(7, &body(Some("a"), 1.0, AT)));
    let truncated = framed(7, &body(Some("abc"), 1.0, AT)[..6]);
    let mut trailing = framed(7, &body(Some("a"), 1.0, AT));
    trailing.push(1);
    let doubled = [
        framed(7, &body(Some("a"), 1.0, AT)),
        framed(7, &body(Some("b"), 1.0, AT)),
    ]
    .concat();
    let values = [
        good(),
        None,
        Some(vec![]),
        Some(vec![0, 0, 0]),
        Some(b"{\"json\":1}".to_vec()),
        Some(framed(9, b"x")),
        Some(truncated),
        good(),
        Some(trailing),
        Some(doubled),
        Some(framed(7, &body(Some("a"), 1.0, "yesterday"))),
        Some(framed(7, &[0xff; 12])),
        good(),
    ];
    let decoded = decode(&values);
    let codes: Vec<_> = decoded
        .failed
        .iter()
        .map(|(index, error)| (*index, error.code()))
        .collect();
    assert_eq!(codes.len(), 10);
    assert_eq!(
        codes[..9],
        [
            (1, "tombstone"),
            (2, "empty_value"),
            (3, "too_short"),
            (4, "wrong_magic_byte"),
            (5, "unknown_schema_id"),
            (6, "truncated"),
            (8, "trailing_bytes"),
            (9, "trailing_bytes"),
            (10, "bad_timestamp"),
        ]
    );
    assert_eq!(codes[9].0, 11);
    assert_eq!(decoded.groups.len(), 1);
    assert_eq!(decoded.groups[0].rows, Rows::Some(vec![0, 7, 12]));
    assert_eq!(decoded.groups[0].columns.num_rows(), 3);
}

#[test]
fn interleaved_schemas_become_one_group_each() {
    let values: Vec<_> = (0..100)
        .map(|n| Some(framed(7 + n % 2, &body(None, f64::from(n), AT))))
        .collect();
    let decoded = decode(&values);
    assert_eq!(decoded.groups.len(), 2);
    assert_eq!(decoded.groups[0].rows, Rows::Some((0..100).step_by(2).collect()));
    assert_eq!(decoded.groups[1].columns.num_rows(), 50);
}

#[test]
fn a_decoder_is_as_good_as_new_after_bad_records() {
    let mut decoder = TopicDecoder::new(vec![]);
    for round in 0..3 {
        let values = [
            Some(framed(7, &body(Some("a"), f64::from(round), AT))),
            Some(framed(7, &[2, 200])),
            Some(framed(7, &body(Some("b"), f64::from(round), AT))),
        ];
        let decoded = decoder.decode(&batch(&values), &schemas());
        assert_eq!(decoded.failed.len(), 1, "round {round}");
        assert_eq!(decoded.groups[0].columns.num_rows(), 2, "round {round}");
    }
}

#[test]
fn many_bad_records_cost_linear_time() {
    let values: Vec<_> = (0..30_000)
        .map(|n| {
            Some(framed(
                7,
                if n % 2 == 0 {
                    &[2, 200][..]
                } else {
                    &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]
                },
            ))
        })
        .collect();
    let started = std::time::Instant::now();
    let decoded = decode(&values);
    assert_eq!(decoded.failed.len(), 15_000 + 15_000, "empty timestamps are bad too");
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

/// Values of a record with the one field `a`, and which of them decode.
fn decode_field(of: &str, values: &[&[u8]]) -> (Vec<u32>, Vec<(u32, DecodeError)>) {
    let schema = format!(r#"{{"type":"record","name":"T","fields":[{{"name":"a","type":{of}}}]}}"#);
    let schemas = HashMap::from([(7, SchemaEntry::Known(schema.as_str().into()))]);
    let values: Vec<_> = values.iter().map(|value| Some(framed(7, value))).collect();
    let decoded = TopicDecoder::new(vec![]).decode(&batch(&values), &schemas);
    let mut good = Vec::new();
    for group in decoded.groups {
        match group.rows {
            Rows::All => good.extend(0..u32::try_from(group.columns.num_rows()).unwrap()),
            Rows::Some(rows) => good.extend(rows),
        }
    }
    (good, decoded.failed)
}

#[test]
fn a_value_that_is_none_of_its_type_does_not_spoil_the_others() {
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    let longest: &[u8] = &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    let cases: [(&str, &str, [&[u8]; 3], &str); 8] = [
        (
            "text that is no UTF-8",
            "\"string\"",
            [&[2, b'x'], &[2, 0xff], &[0]],
            "UTF-8",
        ),
        (
            "a map's key that is no UTF-8",
            r#"{"type":"map","values":"int"}"#,
            [&[2, 2, b'k', 2, 0], &[2, 2, 0xff, 2, 0], &[0]],
            "UTF-8",
        ),
        (
            "an enum's symbol that is not there",
            r#"{"type":"enum","name":"E","symbols":["A","B"]}"#,
            [&[0], &[10], &[2]],
            "dictionary key",
        ),
        (
            "too many digits",
            decimal,
            [&[2, 1], &[8, 0x7f, 0xff, 0xff, 0xff], &[4, 0x27, 0x0f]],
            "precision",
        ),
        (
            "too many digits in an array",
            &format!(r#"{{"type":"array","items":{decimal}}}"#),
            [&[0], &[2, 8, 0x7f, 0xff, 0xff, 0xff, 0], &[2, 2, 1, 0]],
            "precision",
        ),
        (
            "milliseconds beyond all microseconds",
            millis,
            [&[0], longest, &[2]],
            "out of range",
        ),
        (
            "a time before midnight",
            r#"{"type":"long","logicalType":"time-micros"}"#,
            [&[0], &[1], &[2]],
            "time is none",
        ),
        (
            "a time after midnight",
            r#"{"type":"int","logicalType":"time-millis"}"#,
            [&[0], &[0x80, 0xf0, 0xb2, 0x52], &[2]],
            "time is none",
        ),
    ];
    for (case, of, values, reason) in cases {
        let (good, failed) = decode_field(of, &values);
        assert_eq!(good, [0, 2], "{case}: {failed:?}");
        let (row, error) = &failed[0];
        assert_eq!((failed.len(), *row, error.code()), (1, 1, "malformed"), "{case}");
        assert!(error.to_string().contains(reason), "{case}: {error}");
    }
}

#[test]
fn many_values_that_show_only_in_columns_are_found_one_by_one() {
    let values: Vec<Vec<u8>> = (0..5000_u32)
        .map(|n| if n % 3 == 1 { vec![2, 0xff] } else { vec![2, b'x'] })
        .collect();
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let (good, failed) = decode_field("\"string\"", &values);
    let is_bad = |row: &u32| row % 3 == 1;
    assert_eq!(good, (0..5000).filter(|row| !is_bad(row)).collect::<Vec<_>>());
    assert_eq!(
        failed.iter().map(|(row, _)| *row).collect::<Vec<_>>(),
        (0..5000).filter(is_bad).collect::<Vec<_>>()
    );
}

#[test]
fn null_items_cannot_fill_the_memory() {
    let item = r#"["null",{"type":"fixed","name":"F","size":100000}]"#;
    // An array of 60,000 nulls, at most 64 bytes of length: 6 GB when written out.
    let nulls = [&[0xc0, 0xa9, 0x07][..], &[0; 60_000], &[0]].concat();
    let (good, failed) = decode_field(
        &format!(r#"{{"type":"array","items":{item}}}"#),
        &[&[0], &nulls, &[2, 0, 0]],
    );
    assert_eq!(good, [0, 2], "{failed:?}");
    assert_eq!(failed[0].1.code(), "too_large");
}

#[test]
fn a_batch_is_cut_where_its_rows_would_not_fit() {
    let schema = r#"{"type":"record","name":"T","fields":[{"name":"a","type":["null",{"type":"fixed","name":"F","size":1000000}]}]}"#;
    let schemas = HashMap::from([(7, SchemaEntry::Known(schema.into()))]);
    let values: Vec<_> = (0..300).map(|_| Some(framed(7, &[0]))).collect();
    let mut decoder = TopicDecoder::new(vec![]);
    let pieces = decoder.pieces(batch(&values), &schemas, 100);
    assert_eq!(pieces.iter().map(RawBatch::len).collect::<Vec<_>>(), [134, 134, 32]);
    assert_eq!(pieces[1].offsets[0], 134);
    assert_eq!(decoder.pieces(batch(&values[..50]), &schemas, 100).len(), 1);
}

#[test]
fn a_schema_that_cannot_be_used_is_named_and_costs_nothing() {
    let twice =
        r#"{"type":"record","name":"T","fields":[{"name":"Price","type":"int"},{"name":"price","type":"int"}]}"#;
    let schemas = HashMap::from([
        (7, SchemaEntry::Known(twice.into())),
        (8, SchemaEntry::Unusable("why".into())),
    ]);
    let values = [Some(framed(7, &[0, 0])), Some(framed(8, &[0]))];
    let decoded = TopicDecoder::new(vec![]).decode(&batch(&values), &schemas);
    let texts: Vec<_> = decoded.failed.iter().map(|(_, error)| error.to_string()).collect();
    assert!(
        texts[0].starts_with("unusable_schema: id 7: fields Price and price"),
        "{texts:?}"
    );
    assert_eq!(texts[1], "unusable_schema: id 8: why");
    assert!(arrow_schema(7, twice, &[]).is_err());
}
