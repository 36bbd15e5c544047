"""The admin API: what operators may do, over gRPC, over REST, in the portal and on the command line."""
