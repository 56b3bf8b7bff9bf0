//! Lines to copy and paste that query the tables while the demo runs.

use super::Place;

/// `text` as one word of a POSIX shell.
fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// `text` as a Python string. Debug form of Rust escapes what Python's double quotes need, but for other Unicode escapes.
fn python_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// Counts and latest prices with DuckDB. The extensions come from PyPI where they are installed (no network needed then),
/// else DuckDB fetches them.
pub fn duckdb(place: &Place) -> String {
    let table = place
        .folder()
        .join("warehouse/bronze/raw_trades")
        .display()
        .to_string()
        .replace('\'', "''");
    let sql = format!(
        "SELECT symbol, count(*) AS trades, round(sum(price * quantity)) AS notional, max(event_timestamp) AS latest \
         FROM iceberg_scan('{table}') WHERE decode_error IS NULL GROUP BY symbol ORDER BY trades DESC LIMIT 5"
    );
    let program = format!(
        "import duckdb, glob, sysconfig; db = duckdb.connect(); \
         [db.load_extension(f) for e in (\"avro\", \"iceberg\") for f in \
         glob.glob(sysconfig.get_path(\"purelib\") + f\"/duckdb_extension_{{e}}/extensions/*/*.duckdb_extension\")]; \
         print(db.sql({}))",
        python_string(&sql)
    );
    format!("python3 -c {}", shell_word(&program))
}

/// Counts and first rows with PyIceberg.
pub fn pyiceberg(place: &Place) -> String {
    let program = format!(
        "from pyiceberg.catalog.sql import SqlCatalog; \
         table = SqlCatalog(\"default\", uri={}, warehouse={}).load_table(\"bronze.raw_trades\"); \
         print(table.scan().count(), \"rows\"); \
         print(table.scan(row_filter=\"symbol = 'AAPL'\", selected_fields=(\"trade_id\", \"symbol\", \"price\", \
         \"kafka_partition\", \"kafka_offset\"), limit=3).to_arrow().to_pylist())",
        python_string(&place.catalog_uri()),
        python_string(&place.warehouse()),
    );
    format!("python3 -c {}", shell_word(&program))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(python_string(r#"a"b\c"#), r#""a\"b\\c""#);
    }
}
