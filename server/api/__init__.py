"""The gRPC front: one servicer a file, one guard for all of them."""
