"""Storages: their addresses, reading that changes nothing, writing."""
