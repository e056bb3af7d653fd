"""What operators type and read: options, pages, exit codes, syslog."""
