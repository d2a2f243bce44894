"""A worker program with faults to choose from, which the conformance kit has to find."""
