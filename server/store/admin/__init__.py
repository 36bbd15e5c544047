"""Keys, campaigns, suppressions and webhook endpoints, as operators manage them."""
