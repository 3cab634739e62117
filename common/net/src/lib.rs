//! HTTP over a unix socket or mutual TLS: one server, one client, with limits and deadlines.
