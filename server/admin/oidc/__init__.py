"""People sign in by OpenID Connect: the provider, its ID tokens, and who may do what."""
