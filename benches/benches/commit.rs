//! Committing: one staged file appended to a table in a temporary folder, with everything that makes it durable.

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tapehouse_benches::commits::Rig;

/// Rows of each file: 50 ms of 5,000 records a second.
const ROWS: usize = 250;

fn commit(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("the system gives threads");
    let folder = tempfile::tempdir().expect("the system gives a folder");
    let mut rig = runtime
        .block_on(Rig::new(folder.path()))
        .expect("a table can be created");
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(50);
    group.bench_function("append of one file", |bencher| {
        // The file is written outside of the measured time.
        bencher.iter_custom(|iterations| {
            let mut took = Duration::ZERO;
            for _ in 0..iterations {
                let staged = runtime.block_on(rig.stage(ROWS)).expect("the file can be written");
                let started = Instant::now();
                runtime.block_on(rig.commit(&staged)).expect("the append is accepted");
                took += started.elapsed();
            }
            took
        });
    });
    group.finish();
}

criterion_group!(benches, commit);
criterion_main!(benches);
