//! The configuration file: whatever stands in it, it is accepted or every fault is named, and no secret is shown.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tapehouse_node::config::{Config, Environment, Flags, show};

/// In the environment under the names of secrets; must never be seen again.
const SECRET: &str = "kX9-never-to-be-seen-kX9";

static FILE: LazyLock<PathBuf> =
    LazyLock::new(|| std::env::temp_dir().join(format!("tapehouse-fuzz-{}.toml", std::process::id())));

fuzz_target!(|data: &[u8]| {
    std::fs::write(&*FILE, data).expect("the temporary folder can be written");
    let flags = Flags {
        file: Some(FILE.clone()),
        ..Flags::default()
    };
    let environment = Environment::of(&[
        ("TAPEHOUSE__KAFKA__SASL_PASSWORD", SECRET),
        ("TAPEHOUSE__KAFKA__SSL_KEY_PASSWORD", SECRET),
        ("TAPEHOUSE__SCHEMA_REGISTRY__TOKEN", SECRET),
        ("ICEBERG_CATALOG_URI", "sqlite:///tmp/catalog.db"),
        ("WORD", "word"),
    ]);
    let shown = match Config::load_from(&flags, &[], environment) {
        Ok(config) => format!("{:?} {:?}", config, show::lines(&config)),
        Err(error) => error.to_string(),
    };
    assert!(!shown.contains(SECRET));
});
