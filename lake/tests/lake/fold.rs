//! Whatever becomes of a stream (duplicates, corrections, any order, any cuts, replays, restarts, crashes, compactions, decisions,
//! rebuilds), silver is the fold of bronze's records and of the decisions.

mod model;
mod seen;
mod world;

use rand::Rng as _;

use seen::Seen;
use world::World;

const SEEDS: u64 = 8;
const STEPS: usize = 40;
/// Tries one seed alone.
const SEED: &str = "TAPEHOUSE_FOLD_SEED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_stream_with_any_decisions_becomes_its_fold() {
    let seeds: Vec<u64> = match std::env::var(SEED) {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..SEEDS).collect(),
    };
    let is_one = seeds.len() == 1;
    let mut all = Seen::default();
    for seed in seeds {
        println!("{SEED}={seed}");
        all.add(&run(seed).await);
    }
    println!("{all:?}");
    assert!(is_one || all.is_complete(), "not everything has happened: {all:?}");
}

async fn run(seed: u64) -> Seen {
    let mut world = World::new(seed).await;
    for step in 0..STEPS {
        world.step = step;
        match world.rng.random_range(0..20) {
            0..5 => world.ingest().await,
            5..11 => world.merge_some().await,
            11 => world.replay_merged().await,
            12 => world.restart().await,
            13..16 => world.decide().await,
            16..18 => world.apply().await,
            18 => world.settle().await,
            _ => world.maybe_rebuild().await,
        }
        world.compact().await;
        world.check().await;
    }
    world.settle().await;
    world.seen
}
