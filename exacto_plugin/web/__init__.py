"""What people and programs can look at while the proxy runs."""
