"""What the system is asked to do: traces that are read, and workloads that are generated."""
