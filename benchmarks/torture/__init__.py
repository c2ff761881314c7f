"""A torture bench: `python -m benchmarks.torture --minutes 30 --seed 0`.

Random faults hit whole runs and comparisons in random order. Each is a process as a user starts it,
against a local server. The faults: kills and stops in every phase, several processes in one folder
and on one store, full and read-only disks, damaged files, odd environments, hostile networks and
answers, caps. After each fault the same command is repeated until the run has ended. Then the bench
checks that the results equal those of an undisturbed run, byte for byte; that only requests in
flight were sent twice; that no cap was crossed; that no key is on disk; and that each command
ended with a documented exit code, without a traceback and without leaving a process.

It prints how many faults of each kind were tried, survived and failed, and for each failure the
seed with which `--only KIND --seed S --faults 1` repeats it.
"""
