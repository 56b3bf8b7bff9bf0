//! Rows that other engines have deleted, in files as other engines write them: several row groups, no bounds.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use iceberg::metadata_columns::{RESERVED_FIELD_ID_DELETE_FILE_PATH, RESERVED_FIELD_ID_DELETE_FILE_POS};
use iceberg::spec::{DataContentType, DataFile, DataFileBuilder, DataFileFormat, Literal, Struct};
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::file::properties::WriterProperties;
use tapehouse_lake::files::write_position_deletes;
use uuid::Uuid;

use super::bronze::{Bronze, DATE, Row};
use super::{read, wanted};
use crate::place::{Kind, on_each_catalog};

on_each_catalog! {
    deleted_rows_are_no_rows,
    equality_deletes_are_refused,
}

const GROUP_ROWS: usize = 10;

/// Writes Parquet and describes it for a manifest, without bounds.
async fn write(bronze: &Bronze, content: DataContentType, batch: &RecordBatch) -> DataFile {
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let table = bronze.table().await;
    let path = format!(
        "{}/data/foreign-{}.parquet",
        table.metadata().location(),
        Uuid::new_v4()
    );
    let output = bronze.rig.lake.io_of(&table).new_output(&path).unwrap();
    let size = bytes.len() as u64;
    output.write(bytes.into()).await.unwrap();
    let mut builder = DataFileBuilder::default();
    builder
        .content(content)
        .file_path(path)
        .file_format(DataFileFormat::Parquet)
        .partition(Struct::from_iter([Some(Literal::date(DATE))]))
        .partition_spec_id(0)
        .record_count(batch.num_rows() as u64)
        .file_size_in_bytes(size);
    if content == DataContentType::EqualityDeletes {
        builder.equality_ids(Some(vec![1]));
    }
    builder.build().unwrap()
}

fn field(name: &str, data_type: DataType, id: i32) -> Field {
    Field::new(name, data_type, false)
        .with_metadata(HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]))
}

/// A delete file for any data files, as other engines write them: sorted by path.
async fn write_deletes(bronze: &Bronze, deleted: &[(&DataFile, i64)]) -> DataFile {
    let mut deleted: Vec<(&str, i64)> = deleted
        .iter()
        .map(|(file, position)| (file.file_path(), *position))
        .collect();
    deleted.sort_unstable();
    let schema = ArrowSchema::new(vec![
        field("file_path", DataType::Utf8, RESERVED_FIELD_ID_DELETE_FILE_PATH),
        field("pos", DataType::Int64, RESERVED_FIELD_ID_DELETE_FILE_POS),
    ]);
    let paths = StringArray::from_iter_values(deleted.iter().map(|(path, _)| path));
    let positions = Int64Array::from_iter_values(deleted.iter().map(|(_, position)| *position));
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(paths), Arc::new(positions)]).unwrap();
    write(bronze, DataContentType::PositionDeletes, &batch).await
}

/// 35 rows of two partitions by turns, two row groups of one partition in between; from `first` on.
fn interleaved(first: i64) -> Vec<Row> {
    (first..first + 35)
        .map(|offset| match offset - first {
            10..30 => (0, 1, offset),
            at => (0, i32::try_from(at % 2).unwrap(), offset),
        })
        .collect()
}

async fn deleted_rows_are_no_rows(kind: Kind) {
    let Some(bronze) = Bronze::new(kind).await else {
        return;
    };
    let (a, b) = (interleaved(0), interleaved(35));
    let table = bronze.table().await;
    let mut files = Vec::new();
    for rows in [&a, &b] {
        let file = write(&bronze, DataContentType::Data, &Bronze::batch(&table, rows)).await;
        bronze.add_foreign(vec![file.clone()]).await;
        files.push(file);
    }
    let read_all = |from: i64, to: i64| read_between(&bronze, from, to);
    assert_eq!(read_all(0, 70).await, [a.clone(), b.clone()].concat());
    // Over the ends of row groups, a whole row group, both kinds of delete files; some are named twice.
    let of_both: Vec<(&DataFile, i64)> = [0, 9, 10, 34]
        .into_iter()
        .map(|position| (&files[0], position))
        .chain((10..20).map(|position| (&files[1], position)))
        .collect();
    let general = write_deletes(&bronze, &of_both).await;
    let batch = bronze.rig.lake.warehouse().batch(table.metadata().location());
    let of_one = write_position_deletes(&batch, 0, &files[1], &[19, 20, 33])
        .await
        .unwrap();
    batch.finish().await.unwrap();
    bronze.add_foreign(vec![general, of_one]).await;
    let gone = |rows: &[Row], deleted: &[usize]| -> Vec<Row> {
        let left = rows.iter().enumerate().filter(|(at, _)| !deleted.contains(at));
        left.map(|(_, row)| *row).collect()
    };
    let deleted_of_b: Vec<usize> = (10..21).chain([33]).collect();
    let left = [gone(&a, &[0, 9, 10, 34]), gone(&b, &deleted_of_b)].concat();
    for (from, to) in [(0, 70), (0, 35), (12, 25), (5, 11), (34, 36), (44, 57), (45, 55)] {
        let expected: Vec<Row> = left.iter().copied().filter(|row| (from..to).contains(&row.2)).collect();
        assert_eq!(read_all(from, to).await, expected, "{from}..{to}");
    }
    // Deletes are older than a file that is added later, whatever they name.
    let (rows, stats) = read(&bronze, 0, &[(1, 45, 55)]).await;
    assert_eq!((rows.len(), stats.rows_read), (0, 0), "a whole row group is gone");
}

/// The rows of both partitions between two offsets, in the order of the files.
async fn read_between(bronze: &Bronze, from: i64, to: i64) -> Vec<Row> {
    bronze.read(wanted(0, &[(0, from, to), (1, from, to)])).await.unwrap().0
}

async fn equality_deletes_are_refused(kind: Kind) {
    let Some(mut bronze) = Bronze::new(kind).await else {
        return;
    };
    bronze.append(&[(0, 0, 5)]).await;
    let schema = Arc::new(ArrowSchema::new(vec![field("symbol", DataType::Utf8, 1)]));
    let batch = RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec!["0/0/3"]))]).unwrap();
    let deletes = write(&bronze, DataContentType::EqualityDeletes, &batch).await;
    let path = deletes.file_path().to_owned();
    bronze.add_foreign(vec![deletes]).await;
    bronze.append(&[(0, 5, 8)]).await;
    let refused = bronze.read(wanted(0, &[(0, 0, 5)])).await.unwrap_err();
    assert!(refused.to_string().contains(&path), "{refused}");
    assert!(!refused.is_retryable());
    // They do not apply to what came later, and nothing of it stops for them.
    let (rows, stats) = read(&bronze, 0, &[(0, 5, 8)]).await;
    assert_eq!((rows.len(), stats.files_read), (3, 1));
    assert_eq!(bronze.read(Default::default()).await.unwrap().0, []);
}
