//! Backlane's runtime: feeds the engine, writes its facts, and lets replies out once durable.
