"""What a captured worker can do: an attacker's system calls, made by a worker that ptrace(2) holds, ours and the peer's."""
