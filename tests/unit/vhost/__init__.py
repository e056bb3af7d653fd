"""vhost-user messages and sessions, without a socket."""
