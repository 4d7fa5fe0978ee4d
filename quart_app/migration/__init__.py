"""From the older application's database to this one's: adopt the schema, remove its sessions.

    command.py      the options, the exit codes, the question
    runner.py      the order of the steps, beside the event loop
    inspection.py   reads the database; facts.py: its results as values
    removal.py      the one transaction that adopts, removes and verifies
    restoration.py  the way back
    sealed_file.py  a backup file that shows whether it was changed
    sqlite/, postgres/  the two engines; engine.py: their interface

A table of ours (record.py) records each removal. So the database itself shows whether it ever had
the session table, and which backup belongs to it.
"""
