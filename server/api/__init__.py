"""The gRPC API: the server, its services, and the guard that every call passes through."""
