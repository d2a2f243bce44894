//! Backlane's simulator: runs the engine under seeded faults and checks its invariants.
