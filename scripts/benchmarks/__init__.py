"""What scripts/bench measures: see the modules."""
