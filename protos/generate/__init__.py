"""What `make proto` makes from the descriptor set beside stubs: OpenAPI, a page from it, two references.

described ── reads the descriptor set: services, messages, comments, REST bindings
├── rules, schemas, trigger_body     messages → JSON Schema, with the rules of buf.validate
├── reasons, responses, examples     error reasons → answers of REST calls
├── openapi                          joins them in one document ── page shows that document as HTML
└── errors_page, grpc_page           docs/reference/errors.md and grpc.md

Nothing here is installed with the wheel; what it makes is.
"""
