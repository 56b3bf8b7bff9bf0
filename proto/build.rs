//! Compiles the .proto files; no protoc is needed.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["proto/tapehouse/v1/offsets.proto"], ["proto"])?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    tonic_prost_build::configure()
        .file_descriptor_set_path(out.join("tapehouse.v1.bin"))
        .compile_fds(files)?;
    Ok(())
}
