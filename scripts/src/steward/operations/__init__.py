"""What goes on around a job: hooks, pings, messages, and how much of the machine it may take."""
