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
            (8, "malformed"),
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
