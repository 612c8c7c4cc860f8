"""Agents on networks that are built for a test: behind NAT, cut off, narrow, with IPv6 only, with a proxy as the only way out."""
