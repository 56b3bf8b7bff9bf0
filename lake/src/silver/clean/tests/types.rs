//! Bronze columns that are missing, or of other types than the usual ones.

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{
    Decimal128Array, DictionaryArray, FixedSizeBinaryArray, Int32Array, Int64Array, LargeStringArray, NullArray,
    StringArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field, Schema};

use super::rows::{NOON_US, Value, bar, book, trade};
use super::*;

/// The batch with another column instead.
fn with(batch: &RecordBatch, name: &str, column: ArrayRef) -> RecordBatch {
    let schema = batch.schema();
    let columns = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, old)| match field.name() == name {
            true => (Field::new(name, column.data_type().clone(), true), Arc::clone(&column)),
            false => (field.as_ref().clone(), Arc::clone(old)),
        });
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = columns.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn without(batch: &RecordBatch, name: &str) -> RecordBatch {
    let keep: Vec<usize> = (0..batch.num_columns())
        .filter(|&at| batch.schema().field(at).name() != name)
        .collect();
    batch.project(&keep).unwrap()
}

fn trades() -> RecordBatch {
    batch(SilverTable::Trades, &[trade()])
}

fn clean_trade(name: &str, column: ArrayRef) -> Row {
    let cleaned = clean(
        SilverTable::Trades,
        &Rules::default(),
        &Waivers::none(),
        &with(&trades(), name, column),
    )
    .unwrap();
    rows_of(&cleaned.rows).remove(0)
}

#[test]
fn a_missing_column_is_null() {
    for (table, row) in [
        (SilverTable::Trades, trade()),
        (SilverTable::OrderbookSnapshots, book()),
        (SilverTable::MarketData, bar()),
    ] {
        for name in table.source_columns() {
            let missing = clean(
                table,
                &Rules::default(),
                &Waivers::none(),
                &without(&batch(table, std::slice::from_ref(&row)), name),
            );
            let null = clean(
                table,
                &Rules::default(),
                &Waivers::none(),
                &batch(table, &[row.clone().null(name)]),
            );
            let (missing, null) = (missing.unwrap(), null.unwrap());
            assert_eq!(
                (missing.rows, missing.counts),
                (null.rows, null.counts),
                "{table:?} {name}"
            );
        }
    }
    let typeless = clean_trade("exchange", Arc::new(NullArray::new(1)));
    assert_eq!(typeless.get_text("exchange"), None);
}

#[test]
fn numbers_of_other_types_become_doubles() {
    let decimal = Decimal128Array::from(vec![15_025])
        .with_precision_and_scale(10, 2)
        .unwrap();
    assert_eq!(
        clean_trade("price", Arc::new(decimal)).get_double("price"),
        Some(150.25)
    );
    assert_eq!(
        clean_trade("price", Arc::new(Int32Array::from(vec![7]))).get_double("price"),
        Some(7.0)
    );
    assert_eq!(
        clean_trade("quantity", Arc::new(Int64Array::from(vec![1 << 40]))).get_double("quantity"),
        Some(1_099_511_627_776.0)
    );
}

#[test]
fn texts_of_other_types_become_strings() {
    let id = |column: ArrayRef| clean_trade("trade_id", column).get_text("trade_id").unwrap().to_owned();
    assert_eq!(id(Arc::new(Int64Array::from(vec![4711]))), "4711");
    assert_eq!(id(Arc::new(LargeStringArray::from(vec!["T9"]))), "T9");
    let bytes = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef_u128.to_be_bytes();
    let uuid = FixedSizeBinaryArray::try_from_iter([bytes].iter()).unwrap();
    assert_eq!(id(Arc::new(uuid)), "01234567-89ab-cdef-0123-456789abcdef");
    let dictionary: DictionaryArray<arrow_array::types::Int32Type> = ["SELL"].into_iter().collect();
    assert_eq!(clean_trade("side", Arc::new(dictionary)).get_text("side"), Some("SELL"));
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_column_and_type() {
    let error = |name: &str, column: ArrayRef| {
        let cleaned = clean(
            SilverTable::Trades,
            &Rules::default(),
            &Waivers::none(),
            &with(&trades(), name, column),
        );
        cleaned.unwrap_err().to_string()
    };
    assert_eq!(
        error("price", Arc::new(StringArray::from(vec!["150.25"]))),
        "column `price` is Utf8, Float64 is needed"
    );
    let local = TimestampMicrosecondArray::from(vec![NOON_US]);
    assert!(error("trade_timestamp", Arc::new(local)).starts_with("column `trade_timestamp` is Timestamp("));
    assert!(error("kafka_offset", Arc::new(StringArray::from(vec!["1"]))).starts_with("column `kafka_offset` is Utf8"));
    let books = batch(SilverTable::OrderbookSnapshots, &[book()]);
    let books = with(&books, "bids", Arc::new(Int32Array::from(vec![1])));
    let error = clean(
        SilverTable::OrderbookSnapshots,
        &Rules::default(),
        &Waivers::none(),
        &books,
    )
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "column `bids` is Int32, list of {price, size} is needed"
    );
}

#[test]
fn levels_with_other_fields_are_read_by_name() {
    let levels = |names: [&str; 2]| {
        let columns = names.map(|name| {
            let values: ArrayRef = Arc::new(Int32Array::from(vec![5, 6]));
            (Arc::new(Field::new(name, DataType::Int32, true)), values)
        });
        let levels: ArrayRef = Arc::new(arrow_array::StructArray::from(columns.to_vec()));
        let element = Arc::new(Field::new("item", levels.data_type().clone(), true));
        let offsets = arrow_buffer::OffsetBuffer::from_lengths([2]);
        Arc::new(arrow_array::ListArray::new(element, offsets, levels, None))
    };
    let books = batch(SilverTable::OrderbookSnapshots, &[book()]);
    let cleaned = |names| {
        let books = with(&books, "asks", levels(names));
        let cleaned = clean(
            SilverTable::OrderbookSnapshots,
            &Rules::default(),
            &Waivers::none(),
            &books,
        )
        .unwrap();
        rows_of(&cleaned.rows).remove(0).0["asks"].clone()
    };
    let pairs = |pairs: [(Option<f64>, Option<f64>); 2]| Value::Levels(pairs.map(Some).to_vec());
    assert_eq!(
        cleaned(["size", "price"]),
        pairs([(Some(5.0), Some(5.0)), (Some(6.0), Some(6.0))])
    );
    assert_eq!(
        cleaned(["price", "orders"]),
        pairs([(Some(5.0), None), (Some(6.0), None)])
    );
}

#[test]
fn what_stands_under_a_null_is_nobody_s_value() {
    let hidden = arrow_array::Float64Array::new(vec![f64::NAN].into(), Some(arrow_buffer::NullBuffer::new_null(1)));
    let row = clean_trade("price", Arc::new(hidden));
    assert_eq!(
        (row.get_double("price"), row.get_text("review_reason")),
        (Some(0.0), Some("null_price"))
    );
    let books = batch(SilverTable::OrderbookSnapshots, &[book()]);
    let high = arrow_array::Float64Array::new(vec![999.0].into(), Some(arrow_buffer::NullBuffer::new_null(1)));
    let cleaned = clean(
        SilverTable::OrderbookSnapshots,
        &Rules::default(),
        &Waivers::none(),
        &with(&books, "best_bid", Arc::new(high)),
    );
    let rows = cleaned.unwrap().rows;
    assert_eq!(rows.num_rows(), 1);
    assert!(
        rows.column_by_name("spread")
            .unwrap()
            .as_primitive::<Float64Type>()
            .is_null(0)
    );
}

#[test]
fn no_rows_are_no_rows() {
    for table in SilverTable::ALL {
        let cleaned = clean(table, &Rules::default(), &Waivers::none(), &batch(table, &[])).unwrap();
        assert_eq!((cleaned.rows.num_rows(), cleaned.counts), (0, Counts::default()));
    }
}
