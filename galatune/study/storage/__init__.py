"""Where studies lie: addresses, reading without writing, writing."""
