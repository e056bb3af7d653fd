"""The vhost-user device: wire and session, engine of the rings, worker and its commands."""
