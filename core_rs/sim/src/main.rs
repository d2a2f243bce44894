//! The command that runs the simulator; all it does lives in the library.

fn main() {
    println!("backlane-sim: no scenario is built in yet");
}
