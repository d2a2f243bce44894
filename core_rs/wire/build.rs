//! Compiles the .proto files to Rust, without protoc.
//!
//! Owns how they are compiled. Refuses to know what is in them.

use std::error::Error;
use std::path::Path;

const FILES: [&str; 4] = [
    "backlane/v1/execution_service.proto",
    "backlane/v1/worker_service.proto",
    "backlane/log/v1/log.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    prost_build::Config::new()
        // Maps in key order: the same message is always the same bytes.
        .btree_map(["."])
        // JSON is carried, not understood.
        .extern_path(".google.protobuf.Value", "crate::RawValue")
        .include_file("all.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
