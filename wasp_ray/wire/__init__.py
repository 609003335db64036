"""The shared memory between workers and aggregator: records, rings, slabs, the control block."""
