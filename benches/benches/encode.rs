//! Encoding: bronze rows to a Parquet file in memory, as the bronze writer does it.

use std::hint::black_box;

use arrow_array::RecordBatch;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapehouse_benches::sample::Trades;
use tapehouse_lake::files::{EncodedFile, FileEncoder};

/// A batch of the consumer, and how many of them a file holds: half a second of a fast stream.
const RECORDS: usize = 32_768;
const BATCHES: usize = 10;

fn encode(criterion: &mut Criterion) {
    let mut trades = Trades::new(1).expect("the sample schema is sound");
    let mut rows = || trades.rows(RECORDS).expect("the samples can be decoded").0;
    let batches: Vec<RecordBatch> = (0..BATCHES).map(|_| rows()).collect();
    let layout = trades.layout().clone();
    let file = || -> EncodedFile {
        let mut encoder = FileEncoder::open(layout.file(), Trades::date(), &batches[0]).expect("the layout is sound");
        for batch in &batches {
            encoder.push(black_box(batch)).expect("the rows fit the layout");
        }
        encoder.finish().expect("the rows fit the layout")
    };
    let mut group = criterion.benchmark_group("encode");
    group
        .throughput(Throughput::Elements((RECORDS * BATCHES) as u64))
        .sample_size(20);
    group.bench_function("bronze rows to Parquet", |bencher| bencher.iter(file));
    group.finish();
}

criterion_group!(benches, encode);
criterion_main!(benches);
