"""A torture bench: `python -m benchmarks.torture --minutes 30 --seed 0`.

Random faults in random order over whole runs and comparisons, each of them a process as a user
starts it, against a server of our own: killed and stopped in every phase, several processes in one
folder and on one store, full and read-only disks, damaged files, odd surroundings, hostile
networks and answers, caps. After each fault the same command is given until the run has ended, and
it is checked that the results are, byte for byte, those of an undisturbed run; that nothing was
asked twice but what was on its way; that no cap was crossed; that no key is on disk; and that each
command ended with a code of the table, without a traceback and without leaving a process.

It prints, for each kind of fault, how many were tried, survived and failed; and for each failure
the seed with which `--only KIND --seed S --faults 1` does it again.
"""
