"""The world in which replicas and users live: simulated time in whole picoseconds."""
