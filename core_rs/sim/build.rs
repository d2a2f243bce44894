//! Compiles the API's .proto files to Rust: the simulator's clients speak as strangers do.
//!
//! Owns how they are compiled. Refuses to share what the wire crate makes of them: a mistake
//! made on both sides alike would never be seen.

use std::env;
use std::error::Error;
use std::path::Path;

const FILES: [&str; 3] = [
    "backlane/v1/execution_service.proto",
    "backlane/v1/worker_service.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // Asked when it runs: a built script may be used for another folder of the same name.
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    prost_build::Config::new()
        // Maps in key order: the same seed is always the same bytes.
        .btree_map(["."])
        .disable_comments(["."])
        .include_file("all.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
