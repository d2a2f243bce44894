"""A worker program with selectable faults, which the conformance kit has to find."""
