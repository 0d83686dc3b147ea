"""Requests, batches and the KV cache: what a serving loop does with a priced step."""
