"""The Clarion server: gRPC front, store, dispatcher and command line."""
