//! Writer schemas as a registry may answer them: from any text to the columns of a bronze table, then a record decoded by it.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use tapehouse_kafka::decode::{SchemaEntry, Schemas, TopicDecoder, arrow_schema};
use tapehouse_kafka::raw_batch::RawBatch;
use tapehouse_lake::bronze::{BronzeLayout, partition_spec, table_schema};

const ID: u32 = 1;

fuzz_target!(|data: &[u8]| {
    // A zero ends the schema; what follows is a record's body.
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(json) = std::str::from_utf8(&data[..end]) else { return };
    let fields = vec!["event_timestamp".to_owned()];
    let Ok(source) = arrow_schema(ID, json, &fields) else { return };
    if let Ok(schema) = table_schema(&source) {
        partition_spec(&schema).expect("every bronze table has its partition column");
        // A table made for a schema takes that schema's records.
        let layout = BronzeLayout::new(Arc::new(schema)).expect("a table schema is a layout");
        drop(layout);
    }
    let body = data.get(end + 1..).unwrap_or_default();
    let mut batch = RawBatch::default();
    batch.push((0, 0), None, None, Some(&[&[0, 0, 0, 0, 1], body].concat()), vec![]);
    let schemas = Schemas::from([(ID, SchemaEntry::Known(json.into()))]);
    let decoded = TopicDecoder::new(fields).decode(&batch, &schemas);
    assert_eq!(decoded.groups.len() + decoded.failed.len(), 1);
});
