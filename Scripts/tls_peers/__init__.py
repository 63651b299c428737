"""Checks of the example servers by TLS programs of other authors, for Scripts/tls-peers."""
