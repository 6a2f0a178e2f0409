"""Scripts that search by themselves: run as they are, with their search replaced by the smaller one."""
