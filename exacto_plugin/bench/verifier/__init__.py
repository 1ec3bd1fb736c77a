"""Tool-call requests replayed against deployments and scored as traffic is."""
