//! Compiles the API's .proto files to Rust for the simulated clients, which know only the public
//! API.
//!
//! Owns how the files are compiled. Refuses to share the code that the wire crate generates: a
//! mistake in shared code would hide itself.

use std::env;
use std::error::Error;
use std::path::Path;

const FILES: [&str; 4] = [
    "backlane/v1/admin_service.proto",
    "backlane/v1/execution_service.proto",
    "backlane/v1/worker_service.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    // The variable is read at run time, because a compiled build script may be reused for another
    // checkout.
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    prost_build::Config::new()
        // Maps are sorted by key, so that the same seed gives the same bytes.
        .btree_map(["."])
        .disable_comments(["."])
        .include_file("all.rs")
        .compile_fds(descriptors)?;
    Ok(())
}
