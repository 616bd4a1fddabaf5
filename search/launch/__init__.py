"""Where workers run: on this machine, on Ray, on Slurm."""
