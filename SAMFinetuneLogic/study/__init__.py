"""Paper A's table: strategies against data sets, each cell trained and measured in a process of its own."""
