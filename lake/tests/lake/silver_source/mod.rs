//! Bronze rows by their coordinates: each once, whatever lies between, and no file opened that cannot hold them.

mod bronze;
mod deletes;

use std::collections::BTreeMap;

use iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use tapehouse_core::chunk::{END_OF_INCARNATION, next_chunk};
use tapehouse_core::offsets::{OffsetRange, Ranges};
use tapehouse_lake::WantedColumn;
use tapehouse_lake::silver::source::{BronzeRows, SourceStats, bronze_offsets};

use crate::place::{Kind, on_each_catalog};
use crate::support::swap_metadata;
use bronze::{Bronze, Merged, Row};

on_each_catalog! {
    each_row_comes_once_whatever_the_chunks,
    a_rewrite_between_two_chunks_changes_nothing,
    files_that_cannot_hold_wanted_rows_are_not_opened,
    many_files_that_bounds_do_not_tell_apart_are_looked_into_once,
    columns_are_those_of_the_table_now,
}

/// Ranges of one incarnation.
fn wanted(incarnation: i32, ranges: &[(i32, i64, i64)]) -> BTreeMap<i32, Ranges> {
    let ranges = ranges
        .iter()
        .map(|&(partition, start, end)| (partition, OffsetRange::new(start, end)));
    [(incarnation, Ranges(ranges.collect()))].into()
}

/// Reads ranges of one incarnation: the rows in order, and what that took.
async fn read(bronze: &Bronze, incarnation: i32, ranges: &[(i32, i64, i64)]) -> (Vec<Row>, SourceStats) {
    let (mut rows, stats) = bronze.read(wanted(incarnation, ranges)).await.unwrap();
    rows.sort_unstable();
    (rows, stats)
}

async fn each_row_comes_once_whatever_the_chunks(kind: Kind) {
    let Some(mut bronze) = Bronze::new(kind).await else {
        return;
    };
    // One silver table behind at every commit, others that come late.
    let mut follower = Merged::default();
    for round in 0..4 {
        bronze
            .append(&[(0, round * 7, round * 7 + 7), (3, 1000 + round, 1001 + round)])
            .await;
        follower.merge_once(&bronze, 5).await;
    }
    bronze.append(&[(1, 0, 9)]).await;
    bronze.adopt().await;
    follower.merge_once(&bronze, 5).await;
    for round in 0..3 {
        bronze
            .append(&[(0, round * 4, round * 4 + 4), (2, round, round + 1)])
            .await;
        follower.merge_once(&bronze, 5).await;
    }
    bronze.adopt().await;
    bronze.append(&[(1, 0, 3)]).await;
    bronze.accept_gap(0, 20).await;
    bronze.append(&[(0, 20, 22)]).await;
    let all = bronze.rows();
    assert_eq!(all.len(), 28 + 4 + 9 + 12 + 3 + 3 + 2);
    for max_offsets in [1, 3, 8, 1000] {
        let mut late = Merged::default();
        late.merge_all(&bronze, max_offsets).await;
        assert_eq!(late.sorted(), all, "chunks of {max_offsets}");
        // The third has no rows: bounds of files with the first and the fourth do not exclude it.
        let ended = (0..4).map(|partition| (partition, END_OF_INCARNATION));
        assert_eq!(late.cursor.next[&0], ended.collect());
        assert_eq!(late.cursor.next[&2], [(0, 22), (1, 3)].into());
    }
    follower.merge_all(&bronze, 5).await;
    assert_eq!(follower.sorted(), all);
    // What is known of former incarnations needs no second look.
    let table = bronze.table().await;
    let lake = &bronze.rig.lake;
    let known = bronze_offsets(lake, &table, &Merged::default().cursor, None)
        .await
        .unwrap();
    let again = bronze_offsets(lake, &table, &follower.cursor, Some(&known))
        .await
        .unwrap();
    assert_eq!(again, known);
    assert_eq!(known.closed[&0][&3], OffsetRange::new(1000, 1004));
    assert_eq!(known.closed[&0][&2], OffsetRange::new(0, 0), "no rows");
    assert_eq!(next_chunk(&follower.cursor, &again, 5).unwrap(), None);
    let afresh = bronze_offsets(lake, &table, &follower.cursor, None).await.unwrap();
    assert_eq!(next_chunk(&follower.cursor, &afresh, 5).unwrap(), None);
}

async fn a_rewrite_between_two_chunks_changes_nothing(kind: Kind) {
    let Some(mut bronze) = Bronze::new(kind).await else {
        return;
    };
    for round in 0..6 {
        bronze
            .append(&[(0, round * 10, round * 10 + 10), (1, round, round + 1)])
            .await;
    }
    bronze.adopt().await;
    bronze.append(&[(0, 0, 10)]).await;
    bronze.append(&[(0, 10, 20)]).await;
    let all = bronze.rows();
    let mut merged = Merged::default();
    merged.merge_once(&bronze, 8).await;
    merged.merge_once(&bronze, 8).await;
    // Over what is merged, what is not, and two incarnations.
    bronze.rewrite(&[1, 2, 6]).await;
    merged.merge_once(&bronze, 8).await;
    bronze.rewrite(&[0, 1]).await;
    merged.merge_all(&bronze, 8).await;
    assert_eq!(merged.sorted(), all);
    // What is merged stays out by its age, although it was written anew.
    bronze.append(&[(0, 20, 25)]).await;
    bronze.rewrite(&[0, 1, 2]).await;
    bronze.append(&[(0, 25, 30)]).await;
    let stats = merged.merge_once(&bronze, 100).await;
    assert_eq!((stats.files_live, stats.files_read), (5, 2), "{stats:?}");
    assert_eq!(merged.sorted(), bronze.rows());
}

async fn files_that_cannot_hold_wanted_rows_are_not_opened(kind: Kind) {
    let Some(mut bronze) = Bronze::new(kind).await else {
        return;
    };
    for round in 0..5 {
        // The bounds of each file hold all that the next ones have.
        bronze
            .append(&[(0, round * 10, round * 10 + 10), (1, 1000 + round, 1001 + round)])
            .await;
    }
    let count = |stats: SourceStats| (stats.files_live, stats.files_read, stats.rows_read);
    let (rows, stats) = read(&bronze, 0, &[(0, 40, 50)]).await;
    assert_eq!(rows, (40..50).map(|offset| (0, 0, offset)).collect::<Vec<_>>());
    assert_eq!(count(stats), (5, 1, 10), "by age: bounds admit all files");
    // None is old enough to be left out for its age; the second partition begins where the last file does.
    bronze.append(&[(2, 0, 3)]).await;
    let (rows, stats) = read(&bronze, 0, &[(0, 0, 1), (2, 2, 3)]).await;
    assert_eq!(rows, [(0, 0, 0), (0, 2, 2)]);
    assert_eq!(count(stats), (6, 2, 2), "by bounds");
    for nothing in [&[][..], &[(0, 7, 7)], &[(0, 50, 90)], &[(9, 0, 90)]] {
        let (rows, stats) = read(&bronze, 0, nothing).await;
        assert_eq!((rows.len(), count(stats)), (0, (6, 0, 0)), "{nothing:?}");
    }
    let (rows, stats) = read(&bronze, 1, &[(0, 0, 90)]).await;
    assert_eq!((rows.len(), count(stats)), (0, (6, 0, 0)), "another incarnation");
    // A part of a partition within a file of several.
    let (rows, stats) = read(&bronze, 0, &[(0, 25, 33), (1, 1003, 1004)]).await;
    let expected = (25..33).map(|offset| (0, 0, offset)).chain([(0, 1, 1003)]);
    assert_eq!(rows, expected.collect::<Vec<_>>());
    assert_eq!((stats.files_live, stats.rows_read), (6, 9));
    // Another engine's rows, without coordinates.
    bronze.append_without_coordinates(4).await;
    let (rows, stats) = read(&bronze, 0, &[(0, 0, 90)]).await;
    assert_eq!((rows.len(), stats.files_live), (50, 7));
}

async fn many_files_that_bounds_do_not_tell_apart_are_looked_into_once(kind: Kind) {
    let Some(mut bronze) = Bronze::new(kind).await else {
        return;
    };
    for round in 0..15 {
        bronze
            .append(&[
                (0, round * 10, round * 10 + 10),
                (1, 5000 + round * 10, 5010 + round * 10),
            ])
            .await;
    }
    // Bounds admit each file, for the one partition or the other.
    for (at, looked_into) in [(0, 15), (9, 0), (14, 0)] {
        let (low, high) = (at * 10, 5000 + at * 10);
        let (rows, stats) = read(&bronze, 0, &[(0, low, low + 10), (1, high, high + 10)]).await;
        let expected = (low..low + 10).map(|offset| (0, 0, offset));
        let expected = expected.chain((high..high + 10).map(|offset| (0, 1, offset)));
        assert_eq!(rows, expected.collect::<Vec<_>>());
        assert_eq!(
            (stats.files_live, stats.files_looked_into, stats.files_read),
            (15, looked_into, 1),
            "{at}"
        );
    }
}

async fn columns_are_those_of_the_table_now(kind: Kind) {
    let Some(mut bronze) = Bronze::new(kind).await else {
        return;
    };
    bronze.append(&[(0, 0, 3)]).await;
    let column = |name: &str, of| WantedColumn {
        name: name.to_owned(),
        field_type: Type::Primitive(of),
        doc: None,
    };
    let columns = [
        column("size", PrimitiveType::Long),
        column("venue", PrimitiveType::String),
    ];
    let base = bronze.table().await.metadata().current_schema_id();
    let lake = &bronze.rig.lake;
    lake.evolve_columns(&bronze.rig.ident, base, &columns).await.unwrap();
    rename(&bronze, "symbol", "ticker").await;
    bronze.append(&[(0, 3, 5)]).await;
    let table = bronze.table().await;
    let names = ["venue", "kafka_offset", "symbol", "ticker", "size"];
    let mut rows = BronzeRows::of(&bronze.rig.lake, &table, &names, wanted(0, &[(0, 1, 5)]))
        .await
        .unwrap();
    let mut found = Vec::new();
    while let Some(batch) = rows.next().await.unwrap() {
        assert_eq!(&batch.schema(), rows.schema());
        let names: Vec<&str> = rows
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        assert_eq!(names, ["venue", "kafka_offset", "ticker", "size"]);
        for row in 0..batch.num_rows() {
            let text = |column: usize| arrow_cast::display::array_value_to_string(batch.column(column), row).unwrap();
            found.push((0..4).map(text).collect::<Vec<String>>());
        }
        assert_eq!(*batch.column(3).data_type(), arrow_schema::DataType::Int64);
    }
    let expected = |offset: i64, venue: &str| {
        [
            venue,
            &offset.to_string(),
            &bronze::symbol((0, 0, offset)),
            &(offset * 3).to_string(),
        ]
        .map(str::to_owned)
    };
    let venue = "X".to_owned();
    assert_eq!(
        found,
        [
            expected(1, ""),
            expected(2, ""),
            expected(3, &venue),
            expected(4, &venue)
        ]
    );
}

/// Renames a column, as other engines do.
async fn rename(bronze: &Bronze, from: &str, to: &str) {
    let base = bronze.table().await;
    let current = base.metadata().current_schema();
    let fields = current.as_struct().fields().iter().map(|field| {
        let name = if field.name == from { to } else { &field.name };
        std::sync::Arc::new(NestedField {
            name: name.to_owned(),
            ..field.as_ref().clone()
        })
    });
    let schema = Schema::builder()
        .with_schema_id(current.schema_id() + 1)
        .with_fields(fields)
        .build()
        .unwrap();
    let builder = base
        .metadata()
        .as_ref()
        .clone()
        .into_builder(Some(base.metadata_location().to_owned()));
    let built = builder.add_current_schema(schema).unwrap().build().unwrap();
    swap_metadata(&bronze.rig, &base, built).await;
}
