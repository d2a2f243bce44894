//! Compiles the .proto files to Rust, without protoc.
//!
//! Owns how they are compiled. Refuses to know what is in them.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

const FILES: [&str; 7] = [
    "backlane/v1/admin_service.proto",
    "backlane/v1/execution_service.proto",
    "backlane/v1/worker_service.proto",
    "backlane/log/v1/log.proto",
    "backlane/log/v1/rows.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Asked when it runs: a target folder may serve more than one checkout.
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    describe(&descriptors)?;
    prost_build::Config::new()
        // Maps in key order: the same message is always the same bytes.
        .btree_map(["."])
        // JSON is carried, not understood.
        .extern_path(".google.protobuf.Value", "crate::RawValue")
        // They speak to users of the API, in code blocks that are no Rust.
        .disable_comments(["."])
        // With its name, a message is found among the descriptors.
        .enable_type_names()
        .include_file("all.rs")
        .compile_fds(descriptors)?;
    Ok(())
}

/// Keeps the descriptors of the API's messages, without their comments.
fn describe(descriptors: &FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    let mut kept = descriptors.clone();
    kept.file.retain(|file| file.package() == "backlane.v1");
    for file in &mut kept.file {
        file.source_code_info = None;
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(out, prost::Message::encode_to_vec(&kept))?;
    Ok(())
}
