"""Generates OpenAPI, its HTML page and two references from the descriptor set, as part of `make proto`.

described                        reads the descriptor set: messages, comments, options, REST bindings
├── rules, schemas, trigger_body     messages → JSON Schema, with the rules of buf.validate
├── reasons, responses, examples     error reasons → responses of REST calls
├── openapi                          combines them in one document; page renders it as HTML
├── admin_openapi, admin_examples    the same for the admin API
├── errors_page, grpc_page           docs/reference/errors.md and grpc.md
├── admin_page                       docs/reference/admin-api.md
├── members_table                    the table of members in docs/reference/rest.md
└── raw_bodies                       changes the descriptor set for the gateway

The wheel contains the generated files, but not this package.
"""
