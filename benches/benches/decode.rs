//! Decoding: Avro in Confluent wire format to Arrow, as the pipeline does it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapehouse_benches::sample::Trades;
use tapehouse_kafka::decode::TopicDecoder;

/// A batch of the consumer.
const RECORDS: usize = 32_768;

fn decode(criterion: &mut Criterion) {
    let mut trades = Trades::new(1).expect("the sample schema is sound");
    let batch = trades.raw(RECORDS);
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(RECORDS as u64));
    group.bench_function("trades to Arrow", |bencher| {
        let mut decoder = TopicDecoder::new(Vec::new());
        bencher.iter(|| {
            let decoded = decoder.decode(black_box(&batch), trades.schemas());
            assert_eq!(decoded.groups[0].columns.num_rows(), RECORDS);
            decoded
        });
    });
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
