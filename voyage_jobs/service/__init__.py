"""The process: put together, run, woken, asked, stopped."""
