//! Cleaning: bronze trades to silver rows with their keys and orders, as the silver merge does it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tapehouse_benches::sample::Trades;
use tapehouse_lake::silver::SilverTable;
use tapehouse_lake::silver::clean::{Rules, Waivers, clean};

/// A batch of the consumer.
const RECORDS: usize = 32_768;

fn trades(criterion: &mut Criterion) {
    let mut trades = Trades::new(1).expect("the sample schema is sound");
    let (bronze, _) = trades.rows(RECORDS).expect("the samples can be decoded");
    let rules = Rules::default();
    let mut group = criterion.benchmark_group("clean");
    group.throughput(Throughput::Elements(RECORDS as u64)).sample_size(20);
    group.bench_function("bronze trades to silver", |bencher| {
        bencher.iter(|| {
            clean(SilverTable::Trades, &rules, &Waivers::none(), black_box(&bronze))
                .expect("the samples have the usual types")
        });
    });
    group.finish();
}

criterion_group!(benches, trades);
criterion_main!(benches);
