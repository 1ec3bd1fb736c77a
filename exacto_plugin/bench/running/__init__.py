"""Planning and running benchmarks."""
