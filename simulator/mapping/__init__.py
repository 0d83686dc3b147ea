"""How work is cut up: tiles of a matmul over time, shards of a model over chips."""
