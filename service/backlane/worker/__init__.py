"""Workers of a Backlane server, built on the contract alone."""
