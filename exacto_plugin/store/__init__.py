"""What outlives a process: records for people, windows and memory for the next start, in SQLite or PostgreSQL."""
