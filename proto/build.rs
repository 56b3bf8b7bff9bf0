//! Compiles the .proto files; no protoc is needed.

use std::error::Error;
use std::path::PathBuf;

const FILES: [&str; 8] = [
    "proto/tapehouse/v1/cluster.proto",
    "proto/tapehouse/v1/offsets.proto",
    "proto/tapehouse/v1/runs.proto",
    "proto/tapehouse/v1/schedules.proto",
    "proto/tapehouse/v1/silver.proto",
    "proto/tapehouse/v1/standing.proto",
    "proto/tapehouse/v1/tables.proto",
    "proto/tapehouse/v1/topics.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(FILES)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("tapehouse.v1.bin"), compiler.encode_file_descriptor_set())?;
    tonic_prost_build::configure()
        .btree_map(".")
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}
